"""Do one row: its run's stages up to evaluation, of which the first are shared with its data set's other rows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon import processes, records, runner
from antiphon.config import Config
from antiphon.stages import Stage, holds, plan
from antiphon.stages import do as do_here
from benchmarks import _machine
from benchmarks.reproduce import _settings
from benchmarks.reproduce._once import processor_seconds
from benchmarks.reproduce._results import Result
from benchmarks.reproduce._rows import METRICS, Row
from benchmarks.reproduce._sides import Sides
from trainer.config import LossConfig, TrainConfig
from trainer.statistics import Interval

READY = ("ingest", "embed", "features", "examples", "knowledge", "prompts")
"""What is done before a row is trained, and shared with others."""

_LOSSES = {
    "softmax": "full softmax",
    "sampled_softmax": "softmax over {n} sampled",
    "mixed": "softmax over {n} in-batch and {n} uniform",
    "in_batch": "softmax over the batch",
    "bce": "binary cross-entropy, 1 negative",
}


@dataclass(frozen=True)
class Work:
    """What lies in the run's folder of one row's model: made with which settings and examples, at what cost so far."""

    settings: dict[str, Any]
    examples: str  # hash of the examples' manifest
    wall_seconds: float = 0.0
    processor_seconds: float = 0.0

    @classmethod
    def read(cls, config: Config, row: Row) -> Work | None:
        """None where there is none."""
        file = cls.file(config, row)
        return cls(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def write(self, config: Config, row: Row) -> None:
        records.write_text(self.file(config, row), records.to_json(vars(self)))

    @staticmethod
    def file(config: Config, row: Row) -> Path:
        return config.folder / "rows" / f"{row.name}.json"


def do(
    row: Row, config: Config, observe: Callable[[Row, Config], Mapping[str, Any]], sides: Sides | None = None,
    again: bool = False,
) -> Result:
    """Trains and evaluates `row`, whose run is `config`; what of it is done and still holds is not done again.

    Training that was stopped goes on where it was, and so does one of fewer epochs; with other settings, or `again`, it
    starts anew.

    Args:
        sides: do it in this process, with these side processes; else each stage is a process of its own.

    Raises:
        StageFailed: naming the stage and its log.
        Busy: another run is at work in the row's folder.
    """  # fmt: skip
    here = sides is not None
    _run(config, [stage for stage in plan(config) if stage.command[0] in READY], here)
    make_room(row, config, again)
    config = sides.named(config, row.name) if here else config
    with measured(row, config):
        _run(config, [stage for stage in plan(config) if stage.name == f"train-{row.name}"], here)
    alone = replace(config, variants={row.name: _alone(row, config)})
    _run(alone, [stage for stage in plan(alone) if stage.name == "evaluate"], here)
    return _result(row, config, observe(row, config))


def _alone(row: Row, config: Config) -> TrainConfig:
    """The row's settings, for a config without the variant that it starts from."""
    train = config.variants[row.name]
    first = str(config.folder / "models" / train.start_from) if train.start_from else ""
    return replace(train, start_from=first)


def lies_in_run(row: Row, config: Config) -> bool:
    """Whether the run's folder has the evaluation of `row` as it is configured."""
    work = Work.read(config, row)
    evaluated = (config.folder / "evaluation" / row.name / "per_user.parquet").exists()
    return evaluated and work is not None and work.settings == _settings.of(config, row)


def _run(config: Config, stages: Sequence[Stage], here: bool) -> None:
    if not here:
        runner.run_stages(config, stages, skip=True)
        return
    with processes.lock(config.folder):
        for stage in stages:
            if not holds(config, stage):
                do_here(config, stage)


def make_room(row: Row, config: Config, again: bool) -> None:
    """Removes the row's model if it is not one to go on with; a recipe of more epochs goes on with that of fewer."""
    made_of = records.read(config.folder, "examples").output
    now, before = Work(_settings.of(config, row), made_of), Work.read(config, row)
    known = before is not None and before.examples == now.examples and not again
    if known and before.settings == now.settings:
        return
    longer = known and _settings.only_longer(before.settings, now.settings, config.variants[row.name])
    for part in ("evaluation",) if longer else ("evaluation", "models"):
        shutil.rmtree(config.folder / part / row.name, ignore_errors=True)
    (replace(before, settings=now.settings) if longer else now).write(config, row)


@contextmanager
def measured(row: Row, config: Config) -> Iterator[None]:
    """Adds what the block takes to the row's cost, however it ends."""
    wall, processor = time.monotonic(), processor_seconds()
    try:
        yield
    finally:
        work = Work.read(config, row)
        cost = {
            "wall_seconds": work.wall_seconds + time.monotonic() - wall,
            "processor_seconds": work.processor_seconds + processor_seconds() - processor,
        }
        Work(work.settings, work.examples, **cost).write(config, row)


def _result(row: Row, config: Config, told: Mapping[str, Any]) -> Result:
    metrics = json.loads((config.folder / "evaluation" / row.name / "metrics.json").read_text(encoding="utf-8"))
    history = json.loads((config.folder / "models" / row.name / "history.json").read_text(encoding="utf-8"))
    work, train, machine = Work.read(config, row), config.variants[row.name], _machine.describe()
    return Result(
        row=row,
        settings=work.settings,
        loss=_words(train.loss),
        protocol=metrics["protocol"],
        users=metrics["test"]["users"],
        test={metric: Interval(**metrics["test"][metric]) for metric in METRICS},
        valid=metrics["valid"]["ndcg@10"]["mean"],
        epochs=history["summary"]["epochs"],
        best_epoch=history["summary"]["best_epoch"],
        pretrain_epochs=train.pretrain.epochs,
        wall_seconds=work.wall_seconds,
        processor_seconds=work.processor_seconds,
        machine={name: machine[name] for name in ("processor", "cores")},
        date=machine["date"],
        told=told,
    )


def _words(loss: LossConfig) -> str:
    return _LOSSES[loss.kind].format(n=loss.negatives)
