"""Do ChoirRec's rows: a world's tables, groups, priors and requests once, then each model's training and evaluation."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from antiphon.config import Config
from beam_jobs import groups as group_job
from beam_jobs import ingest, priors, profiles
from benchmarks.reproduce._choir_rows import ORACLE, OWN, SIMULATED, Row, config
from benchmarks.reproduce._once import made_with, once, read
from feature_store import conversions, folders, requests
from feature_store.conversion_config import ConversionConfig
from feature_store.market.simulate import simulate
from trainer import train
from trainer.calibration import Calibration
from trainer.requests import evaluate as request_evaluate
from trainer.requests import saved as request_saved
from trainer.requests.config import RequestTrainConfig
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
    return {**found, "seconds": round(time.monotonic() - start, 1), "requests": _told(folder)}


def compare(row: Row, other: Row, runs: Path, configure: Configure = config) -> dict[str, Any]:
    """`row` − `other` over the same users, by segment."""
    sides = [_folder(one, runs) / "evaluation" / one.name for one in (other, row)]
    judge = configure(row, runs).judge
    return request_evaluate.compare(_folder(row, runs) / "requests", *sides, None, judge)["b_minus_a"]


def world(row: Row, runs: Path, configure: Configure = config) -> Path:
    """The folder of the row's requests and models, which rows of the same data, groups and seed share."""
    settings, folder = configure(row, runs), _folder(row, runs)
    shared = _folder(replace(row, groups=OWN), runs)
    if row.data in SIMULATED:
        log = Path(settings.data.path)
        once(log, asdict(settings.market), lambda: simulate(settings.market, log))
    tables, told = shared / "tables", shared / "profiles"
    once(tables, asdict(settings.data), lambda: ingest.run(settings.data, tables, settings.beam))
    made_of = [asdict(settings.data), asdict(settings.profiles)]
    once(told, made_of, lambda: profiles.run(tables, told, settings.profiles, settings.beam))
    if row.groups == "ids":
        told = folder / "profiles"
        base = replace(row, model="base", groups=OWN)
        early = replace(settings.conversion, test_start=settings.profiles.end)
        ranker = configure(base, runs).ranker
        made_of = [*made_of, asdict(early), asdict(ranker)]
        once(told, made_of, lambda: _of_ids(shared, folder / "early", early, ranker, told))
    grouped, known = folder / "groups", folder / "priors"
    made_of = [*made_of, row.groups, asdict(settings.groups)]
    once(grouped, made_of, lambda: group_job.run(told, grouped, settings.groups, settings.beam))
    made_of = [*made_of, asdict(settings.priors)]
    online = settings.features.online
    once(known, made_of, lambda: priors.run(tables, grouped, known, settings.priors, online, settings.beam))
    asked = folder / "requests"
    made_of = [*made_of, asdict(settings.conversion)]
    once(asked, made_of, lambda: conversions.write(tables, grouped, known, asked, settings.conversion))
    return folder


def consistency(row: Row, runs: Path) -> dict[str, Any]:
    """How alike the users of a group are, as the priors tell it."""
    told = read(_folder(row, runs) / "priors" / folders.MANIFEST)
    return {name: told.get(name) for name in ("attribute_consistency", "category_consistency")}


def _folder(row: Row, runs: Path) -> Path:
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


def _of_ids(shared: Path, early: Path, conversion: ConversionConfig, ranker: RequestTrainConfig, out: Path) -> None:
    """The profiles' folder with users' vectors in a base model in the place of those of their texts.

    That model learns in ``early`` from what was before the profiles' end, and so has seen what they tell, and no label
    of the requests that their groups are for.
    """
    shutil.rmtree(early, ignore_errors=True)
    conversions.write(shared / "tables", None, None, early / "requests", conversion)
    train.run(early / "requests", None, early / "model", ranker)
    data = Requests(early / "requests")
    model = request_saved.load(early / "model", data).ranker
    feature = data.features[conversions.USER]
    table = model.features.tables[0]
    source = shared / "profiles" / profiles.USERS
    manifest = folders.read_manifest(source)
    with folders.new_folder(out / profiles.USERS) as scratch:
        for path in sorted(source.glob("*.parquet")):
            rows = pq.read_table(path)
            ids = tf.strings.to_hash_bucket_fast(tf.constant(rows["user_id"].to_pylist()), feature.hash_buckets)
            vectors = table.lookup(model.features.rows(conversions.USER, ids)).numpy()
            unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            kind = rows.schema.field("vector").type
            if pa.types.is_fixed_size_list(kind):
                kind = pa.list_(pa.float32(), unit.shape[1])
            column = pa.array(list(unit.astype(np.float32)), kind)
            rows = rows.set_column(rows.schema.get_field_index("vector"), "vector", column)
            pq.write_table(rows, scratch / path.name)
        manifest = {**manifest, "model_id": f"{manifest['model_id']} by id", "width": int(vectors.shape[1])}
        folders.write_manifest(scratch, _described(manifest, scratch))


def _described(node: Any, folder: Path) -> Any:
    """A manifest whose files have what they are now."""
    if isinstance(node, dict):
        if {"file", "bytes", "sha256"} <= node.keys():
            return {**node, **folders.describe(folder / node["file"], folder)}
        return {name: _described(value, folder) for name, value in node.items()}
    return [_described(value, folder) for value in node] if isinstance(node, list) else node


def _told(folder: Path) -> dict[str, int]:
    splits = Requests(folder / "requests").manifest["splits"]
    return {split: told["examples"] for split, told in splits.items()}


