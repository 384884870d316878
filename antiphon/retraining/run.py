"""`antiphon retrain`: one round, from where it stopped, or none where nothing is new."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

from antiphon import processes, records, stages
from antiphon.config import Config
from antiphon.retraining.round import Round
from antiphon.retraining.state import Places
from antiphon.retraining.steps import AFTER_TRAINING, Step, examples_told, new_events
from antiphon.stages import Stage


def run(config: Config, die_after: str = "", here: bool = False) -> int:
    """Does a round: every step once, in order, each recorded before the next begins.

    Killed at any moment and run again, it goes on with the step it was at.

    Args:
        die_after: a step after which the process kills itself, by which a test tries that.
        here: do the stages in this process, for data so small that starting processes takes longer.

    Raises:
        Busy: another retraining is at work. StageFailed: naming the step and its log.
    """
    places = Places.of(config)
    with processes.lock(places.folder) as held:
        round_ = Round(config, places, places.read_state(), held, here)
        sources = records.fingerprint(stages.sources(config.data))
        if sources == round_.state.sources:
            print(f"{config.name}: the raw files are those of round {round_.state.round}: nothing to do", flush=True)
            return 0
        for name, step in _steps(round_, sources):
            if round_.marker(name).is_file():
                print(f"round {round_.number}: {name}: done before", flush=True)
            else:
                print(f"round {round_.number}: {name} ...", flush=True)
                records.write_text(round_.marker(name), records.to_json(step(round_)))
            if name == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "ingest" and (new := round_.result(name)["new"]) < config.retrain.min_events:
                shutil.rmtree(round_.folder)
                print(f"{config.name}: {new} new events, fewer than retrain.min_events: nothing to do", flush=True)
                return 0
        print((round_.folder / "decision.txt").read_text(encoding="utf-8"), end="", flush=True)
    return 0


def step_names(config: Config) -> list[str]:
    """Of the next round's steps, in order."""
    places = Places.of(config)
    return [name for name, _ in _steps(Round(config, places, places.read_state(), -1), "")]


def _steps(round_: Round, sources: str) -> Iterator[tuple[str, Step]]:
    for stage in round_.stages():
        if stage.name == "ingest":
            yield "ingest", lambda this, stage=stage: _ingest(this, stage, sources)
        else:
            yield stage.command[0], lambda this, stage=stage: _stage(this, stage)
    yield from AFTER_TRAINING.items()


def _ingest(round_: Round, stage: Stage, sources: str) -> dict[str, object]:
    """All raw files, so that late and corrected rows count; what is later than the watermark is new."""
    round_.do(stage)
    found = new_events(round_.folder / "tables" / "events.parquet", round_.state.watermark)
    return {**found, "sources": sources}


def _stage(round_: Round, stage: Stage) -> dict[str, object]:
    round_.do(stage)
    return examples_told(round_.folder / "examples") if stage.name == "examples" else {}
