"""A model that is never retrained, retrained from scratch and retrained warm: `antiphon reproduce retraining`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon import records
from antiphon.config import Config, load
from benchmarks import _machine
from benchmarks.reproduce import _retraining_page, _retraining_rounds
from benchmarks.reproduce._command import OUT
from benchmarks.reproduce._results import rounded
from benchmarks.reproduce._retraining_periods import Periods
from benchmarks.reproduce.backbones import CONFIGS
from feature_store.checks import require
from feature_store.config import DataConfig

NAME = "retraining"


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        name: of the folder of its runs, and of its files.
        data: the log that is cut. first: the share of its events that are there from the beginning; the others come in
            `periods` more.
    """

    name: str
    data: DataConfig
    config: Config
    first: float
    periods: int


def whole() -> Plan:
    config = load(CONFIGS / "ml1m_retraining.yaml")
    data = load(CONFIGS / "ml1m_sasrec.yaml").data
    return Plan(NAME, data, config, 0.4, 6)


def quick() -> Plan:
    """The same on MovieLens-100k in two periods, with a small model."""
    plan = whole()
    config = plan.config
    train = config.variants["ids"]
    model = replace(train.model, d=16, max_length=7)
    loss = replace(train.loss, negatives=64)
    train = replace(train, batch=128, epochs=4, steps_per_schedule=1, model=model, loss=loss)
    config = replace(
        config, features=replace(config.features, history_length=7), train=train, variants={"ids": train},
        retrain=replace(config.retrain, epochs=1, bootstrap=200), export=replace(config.export, warmup_requests=1),
    )  # fmt: skip
    return Plan(f"{NAME}_quick", DataConfig(), config, 0.6, 2)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    plan = quick() if options.quick else whole()
    path = plan.data.path
    require(not path or Path(path).exists(), "data.path", "must be there (set ANTIPHON_DATA?)", path)
    run(plan, options.runs, options.out or (options.runs if options.quick else OUT))
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"antiphon reproduce {NAME}",
        description=f"MovieLens-1M cut by time: rounds of `antiphon retrain` warm and from scratch beside a model that "
        f"is never retrained; writes {OUT / NAME}.md. Interrupted, the same command goes on.",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="where the rounds lie (%(default)s)")
    parser.add_argument("--out", type=Path, help=f"folder of the page and its results ({OUT})")
    parser.add_argument("--quick", action="store_true", help="a tiny model on MovieLens-100k, in minutes, into --runs")
    return parser.parse_args(argv)


def run(plan: Plan, runs: Path, out: Path) -> dict[str, Any]:
    """Does what is not done, and writes JSON and page after every round; returns what the JSON holds.

    Raises:
        ValueError: the runs' folder has rounds of other settings.
    """
    folder = (runs / plan.name).resolve()
    settings = {
        "first": plan.first, "periods": plan.periods, "data": plan.data.reader,
        **{name: dataclasses.asdict(getattr(plan.config, name)) for name in ("features", "examples", "retrain")},
        "train": dataclasses.asdict(plan.config.variants["ids"]),
    }  # fmt: skip
    settings = json.loads(json.dumps(settings))
    claim = folder / "settings.json"
    if claim.is_file() and json.loads(claim.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{folder}: holds rounds of other settings; remove it to do them anew")
    records.write_text(claim, records.to_json(settings))
    periods = Periods.cut(plan.data, folder / "periods", plan.first, plan.periods)
    result: dict[str, Any] = {"settings": settings, "machine": _machine.describe(), "rounds": []}
    for told in _retraining_rounds.rounds(plan.config, periods, folder):
        result["rounds"].append(told)
        result["overall"] = _retraining_rounds.overall(plan.config, folder, told["round"])
        records.write_text(out / f"{plan.name}.json", records.to_json(rounded(result)))
        page = _retraining_page.write(plan.name, out)
        print(f"{plan.name}: round {told['round']} of {periods.count}; {page}", flush=True)
    return result
