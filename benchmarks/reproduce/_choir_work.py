"""Do ChoirRec's rows: a world's tables, groups, priors and requests once, then each model's training and evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from antiphon import records
from antiphon.config import Config
from beam_jobs import groups as group_job
from beam_jobs import ingest, priors, profiles
from benchmarks.reproduce import _choir_channels, _choir_groups
from benchmarks.reproduce._choir_rows import FULL, IDS, ORACLE, OWN, SEGMENTS, SIMULATED, WHOLE, Row, config
from benchmarks.reproduce._once import made_with, once, read
from feature_store import conversions, folders, requests
from feature_store.market.simulate import simulate
from trainer import train
from trainer.calibration import Calibration
from trainer.requests import evaluate as request_evaluate
from trainer.requests.input import Requests
from trainer.requests.scores import Scored

Configure = Callable[[Row, Path], Config]


def do(row: Row, runs: Path, configure: Configure = config) -> dict[str, Any]:
    """The row's metrics on the test split, by segment, and what chose its best epoch on validation; of a setting that
    is tried the second alone. What of it is done with these settings is not done again."""
    settings = configure(row, runs)
    folder = world(row, runs, configure)
    out = folder / "evaluation" / row.name
    start = time.monotonic()
    found: dict[str, Any] = {}
    if row.model == ORACLE:
        made_of = [made_with(folder / "requests")["settings"], asdict(settings.judge)]
        once(out, made_of, lambda: _oracle(folder, Path(settings.data.path), out, settings))
    else:
        model, asked, ranker = folder / "models" / row.name, folder / "requests", settings.ranker
        made_of = [made_with(asked)["settings"], asdict(ranker)]
        once(model, made_of, lambda: train.run(asked, None, model, ranker), resumes=True)
        history = read(model / "history.json")
        found["valid"] = {ranker.select: history["summary"][f"valid_{ranker.select}"]}
        if not row.setting:
            made_of = [*made_of, asdict(settings.judge)]
            once(out, made_of, lambda: request_evaluate.run(asked, model, out, settings.judge))
    if not row.setting:
        found["test"] = read(out / "metrics.json")["test"]
    if row.model == FULL and not row.setting:
        found["groups"] = _of_groups(row, folder, settings)
        file, judge = folder / "channels" / f"{row.name}.json", settings.judge
        once(file, made_of, lambda: records.write_text(file, records.to_json(
            _choir_channels.apart(folder / "requests", folder / "models" / row.name, out, judge))))  # fmt: skip
        found["channels"] = read(file)
    return {**found, "seconds": round(time.monotonic() - start, 1), "requests": _told(folder)}


def compare(row: Row, other: Row, runs: Path, configure: Configure = config) -> dict[str, Any]:
    """`row` − `other` over the same users, by segment."""
    sides = [_folder(one, runs) / "evaluation" / one.name for one in (other, row)]
    judge = configure(row, runs).judge
    return request_evaluate.compare(_folder(row, runs) / "requests", *sides, None, judge)["b_minus_a"]


def world(row: Row, runs: Path, configure: Configure = config) -> Path:
    """The folder of the row's requests and models, which rows of the same data, groups and seed share."""
    row = row.world
    settings, folder = configure(row, runs), _folder(row, runs)
    shared = _folder(replace(row, groups=OWN), runs)
    if row.data in SIMULATED:
        log = Path(settings.data.path)
        once(log, asdict(settings.market), lambda: simulate(settings.market, log))
    tables, told = shared / "tables", (folder if row.groups == WHOLE else shared) / "profiles"
    once(tables, asdict(settings.data), lambda: ingest.run(settings.data, tables, settings.beam))
    made_of = [asdict(settings.data), asdict(settings.profiles)]
    once(told, made_of, lambda: profiles.run(tables, told, settings.profiles, settings.beam))
    if row.groups == IDS:
        told = folder / "profiles"
        base = replace(row, model="base", groups=OWN)
        early = replace(settings.conversion, test_start=settings.profiles.end)
        ranker = configure(base, runs).ranker
        made_of = [*made_of, asdict(early), asdict(ranker)]
        once(told, made_of, lambda: _choir_groups.of_ids(shared, folder / "early", early, ranker, told))
    grouped, known = folder / "groups", folder / "priors"
    made_of = [*made_of, row.groups, asdict(settings.groups)]
    if row.groups == SEGMENTS:
        once(grouped, made_of, lambda: _choir_groups.of_segments(told, grouped, settings.market))
    else:
        once(grouped, made_of, lambda: group_job.run(told, grouped, settings.groups, settings.beam))
    made_of = [*made_of, asdict(settings.priors)]
    online = settings.features.online
    once(known, made_of, lambda: priors.run(tables, grouped, known, settings.priors, online, settings.beam))
    asked = folder / "requests"
    made_of = [*made_of, asdict(settings.conversion)]
    once(asked, made_of, lambda: conversions.write(tables, grouped, known, asked, settings.conversion))
    return folder


def _of_groups(row: Row, folder: Path, settings: Config) -> dict[str, float | None]:
    """How alike the users of a group are, as the priors tell it; of a simulated market also what groups know of its
    segments, and what attributes do."""
    told = read(folder / "priors" / folders.MANIFEST)
    found = {name: told.get(name) for name in ("attribute_consistency", "category_consistency")}
    if row.data in SIMULATED:
        found["information"] = round(_choir_groups.information(folder / "groups", settings.market), 4)
        log = Path(settings.data.path)
        found["attributes"] = round(_choir_groups.of_attributes(log, settings.market), 4)
        if row.groups == OWN:
            found["profiles"] = round(_choir_groups.of_profiles(log, folder / "profiles", settings.market), 4)
    return found


def _folder(row: Row, runs: Path) -> Path:
    row = row.world
    return runs / (f"{row.data}_{row.seed}" if row.groups == OWN else f"{row.data}_{row.seed}_{row.groups}")


def _oracle(folder: Path, log: Path, out: Path, settings: Config) -> None:
    """The evaluation of the market's own probabilities of a purchase."""
    data = Requests(folder / "requests")
    held = requests.read_rows(data.folder, "test", ["user_id", "request_id", "label_time", "labels"])
    truth = pq.read_table(log / "truth.parquet", columns=["impression_id", "p_convert"])
    chance = dict(zip(truth["impression_id"].to_pylist(), truth["p_convert"].to_pylist(), strict=True))
    p = np.clip([chance[name] for name in held["request_id"].to_pylist()], 1e-9, 1 - 1e-9)
    logits = (np.log(p) - np.log1p(-p))[:, None]
    labels = np.array([row[0] for row in held["labels"].to_pylist()], np.float32)[:, None]
    names = [np.array(held[name].to_pylist()) for name in ("user_id", "request_id", "label_time")]
    scored = Scored(*names, np.ones_like(labels, bool), labels, logits, {})
    request_evaluate.write(out, data, scored, Calibration(), settings.judge, {"model": ORACLE})


def _told(folder: Path) -> dict[str, int]:
    splits = Requests(folder / "requests").manifest["splits"]
    return {split: told["examples"] for split, told in splits.items()}


