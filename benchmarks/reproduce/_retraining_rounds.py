"""Rounds of `antiphon retrain` on a log that arrives by periods: what each way of keeping a model fresh comes to."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.config import Config
from antiphon.retraining import gate, run
from antiphon.retraining.config import RetrainConfig
from antiphon.retraining.state import Places
from benchmarks.reproduce._retraining_periods import Periods
from feature_store.examples import read_manifest, read_rows
from trainer import statistics

BASE = "base"
"""The first round, from which all ways go on."""
RETRAINED = ("scratch", "warm")
SHARED = {"ingest": "tables", "features": "features", "examples": "examples"}
"""Steps that both ways' rounds have in common, and what each leaves."""
RAW = "raw"
WAYS = ("never", *RETRAINED)
PAIRS = (("scratch", "warm"), ("never", "warm"), ("never", "scratch"))
METRICS = ("recall@10", "ndcg@10")


def rounds(config: Config, periods: Periods, folder: Path) -> Iterator[dict[str, Any]]:
    """Does every round that is not done, in this process, and yields what each came to, from the second on.

    Round r is trained on the periods before its own and the first half of its own, and measured on the users of its
    last quarter, which none of the models has seen. Both ways' rounds are done in turn.
    """
    _first(config, periods, folder)
    for number in range(2, periods.count + 1):
        periods.arrive(folder / RAW, number - 1)
        for way in RETRAINED:
            own = _own(config, folder, way)
            if way != RETRAINED[0]:
                _share(Places.of(_own(config, folder, RETRAINED[0])).round(number), Places.of(own).round(number))
            _round(own, number)
        yield _told(config, folder, number)


def overall(config: Config, folder: Path, count: int) -> dict[str, Any]:
    """Over rounds 2 to `count`: users' means of quality, the paired tests over users, and training times.

    A user of several rounds counts once, with the mean over the rounds.
    """
    per_round = [_per_user(config, folder, number) for number in range(2, count + 1)]
    users = np.concatenate([users for users, _ in per_round])
    names, index = np.unique(users, return_inverse=True)
    weights = np.bincount(index)

    def mean(way: str, metric: str) -> np.ndarray:
        values = np.concatenate([found[way][metric] for _, found in per_round])
        return np.bincount(index, values) / weights

    values = {way: {metric: mean(way, metric) for metric in METRICS} for way in WAYS}
    return {"users": len(names), "rows": len(users), **_compared(values, config.retrain.bootstrap)}


def _first(config: Config, periods: Periods, folder: Path) -> None:
    periods.arrive(folder / RAW, 0)
    _round(_own(config, folder, BASE), 1)
    for way in RETRAINED:
        if not (folder / way).is_dir():
            scratch = folder / f".{way}.part"
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(folder / BASE, scratch)
            scratch.rename(folder / way)


def _own(config: Config, folder: Path, way: str) -> Config:
    """A way's config: its run lies in its own folder."""
    start = way if way in RETRAINED else config.retrain.start
    return replace(
        config,
        runs=str(folder / way / "runs"),
        data=replace(config.data, path=str(folder / RAW)),
        retrain=replace(config.retrain, start=start),
    )


def _share(source: Path, out: Path) -> None:
    """Gives a round what another of the same number has made of the raw files: both ways train on the same examples."""
    for name, made in SHARED.items():
        if not (out / "steps" / f"{name}.json").is_file():
            shutil.rmtree(out / made, ignore_errors=True)
            shutil.copytree(source / made, out / made, copy_function=os.link)
            for record in (f"stages/{name}.json", f"steps/{name}.json"):
                (out / record).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / record, out / record)


def _round(config: Config, number: int) -> None:
    """Round `number` of a way, unless it is done. Training that was stopped begins again, so that its time is whole."""
    places = Places.of(config)
    if places.read_state().round >= number:
        return
    if not (places.round(number) / "steps" / "train.json").is_file():
        shutil.rmtree(places.model(number), ignore_errors=True)
    run.run(config, here=True)


def _told(config: Config, folder: Path, number: int) -> dict[str, Any]:
    places = {way: Places.of(_own(config, folder, way)) for way in RETRAINED}
    splits = read_manifest(places["warm"].round(number) / "examples")["splits"]
    decisions = {way: each.decision(number) for way, each in places.items()}
    users, values = _per_user(config, folder, number)
    measured = decisions["warm"]["measured"]
    return {
        "round": number,
        "events": decisions["warm"]["events"],
        "targets": splits["train"]["targets"],
        "users": len(users),
        **_compared(values, config.retrain.bootstrap),
        "training": {way: _training(decision["training"]) for way, decision in decisions.items()},
        "vocabulary": {
            name: decisions["warm"]["vocabulary"][name] for name in ("items", "admitted", "evicted", "left_out")
        },
        "gate": [each.rule for each in gate.judge(measured, [], RetrainConfig()) if not each.passed],
    }


def _training(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary[name] for name in ("seconds", "processor_seconds", "epochs", "best_epoch")}


def _compared(values: dict[str, dict[str, np.ndarray]], bootstrap: int) -> dict[str, Any]:
    quality = {way: statistics.intervals(values[way], bootstrap) for way in WAYS}
    paired = {f"{b} - {a}": statistics.paired(values[a], values[b], bootstrap) for a, b in PAIRS}
    return {"quality": _plain(quality), "paired": _plain(paired)}


def _plain(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {metric: dataclasses.asdict(each) for metric, each in one.items()} for name, one in found.items()}


def _per_user(config: Config, folder: Path, number: int) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Users (U,) of the round's hold-out, and each way's metrics of them."""
    from trainer import replay

    found: dict[str, np.ndarray] = {}
    users = None
    for way in RETRAINED:
        table = pq.read_table(Places.of(_own(config, folder, way)).round(number) / "replay" / "answers.parquet")
        users, found[way] = table["user_id"].to_numpy(), table["candidate_place"].to_numpy()
    found["never"] = _never(config, folder, number)
    values = {way: replay.per_user(found[way]) for way in WAYS}
    return users, {way: {metric: each[metric] for metric in METRICS} for way, each in values.items()}


def _never(config: Config, folder: Path, number: int) -> np.ndarray:
    """Where the first version has the targets of a round's hold-out (U,); asked once."""
    from trainer import replay

    path = folder / "never" / f"{number:04d}.parquet"
    if not path.is_file():
        examples = Places.of(_own(config, folder, "warm")).round(number) / "examples"
        rows = read_rows(examples, "test", ["history", "target"])
        version = Places.of(_own(config, folder, BASE)).served / "1"
        items, _ = replay.answers(version, rows["history"].to_pylist())
        places = replay.places(items, rows["target"].to_pylist())
        path.parent.mkdir(exist_ok=True)
        scratch = path.with_suffix(".part")
        pq.write_table(pa.table({"place": places}), scratch)
        scratch.rename(path)
    return pq.read_table(path)["place"].to_numpy()
