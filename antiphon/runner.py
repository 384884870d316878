"""Do a run's stages, each in a process of its own, and skip those that need not be done again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from antiphon import align, processes, records, refresh
from antiphon.clock import clock
from antiphon.config import Config, dump
from antiphon.stage import Stage
from antiphon.stages import do, find, holds, needed, plan


def run_all(config: Config, debug: bool = False) -> int:
    """Every stage in order; what still holds is skipped."""
    start = time.monotonic()
    done = run_stages(config, plan(config), skip=True, debug=debug)
    report = config.folder / "report.html"
    told = f"; the report is {report}" if report.exists() else ""
    print(f"{config.name}: {done} stages done in {clock(time.monotonic() - start)}{told}")
    return 0


def run_rounds(config: Config, variant: str, rounds: int | None, debug: bool = False) -> int:
    """The rounds of a variant with stored knowledge, and all they build on; what still holds is skipped.

    Args:
        rounds: in all; None is the config's.
    """
    settings = config.variants[variant]
    if rounds is not None:
        variants = {**config.variants, variant: replace(settings, rounds=rounds)}
        config = replace(config, variants=variants)
    run_stages(config, needed(config, variant), skip=True, debug=debug)
    refresh.tell(config, variant)
    return 0


def run_alignment(config: Config, rounds: int | None, step: str | None, debug: bool = False) -> int:
    """The rounds of ranker and reasoner; what still holds is skipped.

    Args:
        rounds: in all; None is the config's.
        step: one stage alone, in this process: as the child of such a run.
    """
    if step:
        do(config, align.stage(config, step))
        return 0
    if rounds is not None:
        config = replace(config, align=replace(config.align, rounds=rounds))
    align.check(config)
    run_stages(config, align.stages(config), skip=True, debug=debug)
    align.tell(config)
    return 0


def run_some(config: Config, name: str, debug: bool = False) -> int:
    """The stages that the subcommand `name` stands for, whether or not they still hold."""
    run_stages(config, find(config, name), skip=False, debug=debug)
    return 0


def run_here(config: Config, name: str) -> int:
    """The stage itself, in this process: as the child of a run, or as one role of a cluster (TF_CONFIG).

    Raises:
        ValueError: under TF_CONFIG, more than one variant is meant.
    """
    stages = find(config, name)
    if len(stages) > 1:
        raise ValueError(
            f"TF_CONFIG is set: train one variant a cluster, with --variant, one of "
            f"{', '.join(config.variants)}"
        )
    if plays_server():
        stages[0].work(config)  # nothing is recorded: the stage is the chief's
    else:
        do(config, stages[0])
    return 0


def plays_server() -> bool:
    """Whether TF_CONFIG makes this process a parameter server or a worker.

    Raises:
        ValueError: TF_CONFIG is not JSON that names a task.
    """
    text = os.environ.get("TF_CONFIG")
    try:
        return bool(text) and json.loads(text)["task"]["type"] in ("ps", "worker")
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"TF_CONFIG: must be JSON with task.type, received {text!r}") from None


def run_stages(config: Config, stages: Sequence[Stage], skip: bool, debug: bool = False) -> int:
    """These stages in order, with `skip` only those that no longer hold; returns how many were done.

    Raises:
        StageFailed: naming the stage and its log.
        Busy: another run is at work in the folder.
    """
    with processes.lock(config.folder) as held:
        file = config.folder / "config.yaml"
        records.write_text(file, dump(config))
        print(f"{config.name}: {len(stages)} stages into {config.folder}/", flush=True)
        done = 0
        for number, stage in enumerate(stages, 1):
            title = f"[{number}/{len(stages)}] {stage.name}"
            if skip and holds(config, stage):
                print(f"{title}: unchanged, skipped", flush=True)
                continue
            print(f"{title} ...", flush=True)
            start = time.monotonic()
            _run_stage(config, stage, file, held, debug)
            print(f"{title}: done in {clock(time.monotonic() - start)}", flush=True)
            done += 1
        return done


def _run_stage(config: Config, stage: Stage, file: Path, held: int, debug: bool) -> None:
    log = config.folder / "logs" / f"{stage.name}.log"
    command = [sys.executable, "-m", "antiphon.cli", *stage.command, "--child", "-c", str(file)]
    if debug:
        command.append("--debug")
    code = processes.run(command, log, [held], stage.grace)
    if code != 0:
        how = f"was ended by signal {-code}" if code < 0 else f"failed with code {code}"
        raise processes.StageFailed(f"{stage.name} {how}; its output is in {log}", code)
