"""Served features against what they should have been, and against the training window.

A sample of users, by a hash of their id: each of their rows in the served log gets its features computed again from the
offline store, as they were just before the request (skew), and the features' distributions are set beside those of the
training examples (drift).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.io import advance, by_shard, progress, run_pipeline, staging_folder, table_of, write_parquet
from beam_jobs.options import BeamConfig, SkewConfig
from feature_store import examples as training
from feature_store import folders, served_log
from feature_store.asof import asof_join
from feature_store.build import read_features
from feature_store.distributions import Distance, categories, numbers
from feature_store.hashing import uniform
from feature_store.schema import Field, Schema
from feature_store.served_examples import SERVED, served_examples, user_features

JOB = "skew"
EXPECTED = "expected."
_SALT = "skew"
_NUMBER = "served.row"  # a column for the order: the join keeps none
_REFERENCE_ROWS = 200_000  # training rows that are enough for a distribution


@dataclass(frozen=True)
class _Stage:
    """What the steps need to know; pickles."""

    folder: Path
    features: Path
    schema: Schema
    sample: float
    shards: int
    between: tuple[int, int]


def run(
    log: Path, features: Path, examples: Path, out: Path, skew: SkewConfig, beam: BeamConfig,
    between: tuple[int, int] = (0, 1 << 62),
) -> dict[str, Any]:
    """Writes a report folder: `report.json`, `mismatches.parquet`, and last its manifest with the verdict.

    Args:
        log: the folder of the served log.
        features, examples: the run's, which the version that served was trained with.
        between: requests later than the first and at most as late as the second count, in microseconds: offline
            features know nothing later than their newest event.

    Returns:
        The verdict ({"passes", "reasons"}), rows, mismatches by feature, seconds taken.

    Raises:
        DataError: a folder is missing, or not whole.
    """
    started = time.monotonic()
    _, schema = read_features(features)
    training.read_manifest(examples)
    segments = served_log.segments(log)
    with staging_folder(Path(out)) as staging, progress(JOB, "row"):
        stage = _Stage(staging, Path(features), schema, skew.sample, beam.shards, between)
        _compare_all(segments, stage, beam)
        parts = sorted(staging.glob("*.parquet"))
        table = pa.concat_tables([pq.read_table(path) for path in parts]) if parts else None
    fields = user_features(schema)
    report = _report(table, fields, examples, skew)
    with folders.new_folder(Path(out)) as folder:
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if table is not None:
            wrong = np.any([_mismatched(table, field, skew.tolerance) for field in fields], axis=0)
            pq.write_table(table.filter(pa.array(wrong)), folder / "mismatches.parquet", compression="zstd")
        files = [folders.describe(path, folder) for path in sorted(folder.iterdir())]
        manifest = {"kind": "skew", "verdict": report["verdict"], "rows": report["rows"], "config": asdict(skew)}
        folders.write_manifest(folder, manifest | {"files": files})
    return {
        "verdict": report["verdict"],
        "rows": report["rows"],
        "mismatched": {name: entry["mismatched"] for name, entry in report["features"].items()},
        "seconds": round(time.monotonic() - started, 2),
    }


def _compare_all(segments: list[Path], stage: _Stage, config: BeamConfig) -> None:
    """Leaves the sampled rows, served and expected, in `<shard>.parquet` in the staging folder."""

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Segments" >> apache_beam.Create(segments)
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "ReadAndSample" >> apache_beam.FlatMap(_read_and_sample, stage)
            | "ByUser" >> apache_beam.GroupByKey()
            | "ComputeAgain" >> apache_beam.Map(_compute_again, stage)
        )

    run_pipeline(config, build)


def _read_and_sample(segment: Path, stage: _Stage) -> Iterator[tuple[int, pa.RecordBatch]]:
    for batch in served_examples(served_log.read_segment(segment), stage.schema):
        advance(JOB, batch.num_rows)
        users, times = batch.column("user_id").to_pylist(), batch.column("label_time").cast(pa.int64()).to_pylist()
        after, until = stage.between
        counts = [
            after < time <= until and uniform(_SALT, user) < stage.sample
            for user, time in zip(users, times, strict=True)
        ]
        chosen = batch.filter(pa.array(counts, pa.bool_()))
        if chosen.num_rows:
            yield from by_shard(chosen, "user_id", stage.shards)


def _compute_again(group: tuple[int, Iterable[pa.RecordBatch]], stage: _Stage) -> None:
    shard, batches = group
    rows = table_of(batches).sort_by([("row_id", "ascending"), ("user_id", "ascending")])
    rows = rows.append_column(_NUMBER, pa.array(np.arange(len(rows))))
    for view in stage.schema.views():
        if view.key != "user_id" or not view.features:
            continue
        joined = pa.Table.from_batches(list(asof_join(rows, stage.features / f"{view.name}.parquet", view)))
        expected = {field.name: f"{EXPECTED}{field.name}" for field in view.features}
        rows = joined.rename_columns([expected.get(name, name) for name in joined.column_names])
    write_parquet(stage.folder / f"{shard:05d}.parquet", rows.sort_by(_NUMBER).drop_columns(_NUMBER))


def _report(table: pa.Table | None, fields: tuple[Field, ...], examples: Path, skew: SkewConfig) -> dict[str, Any]:
    rows = 0 if table is None else len(table)
    features = {}
    reasons = [] if rows >= skew.min_rows else [f"{rows} rows with users, of at least {skew.min_rows}"]
    reference = _reference(examples, fields) if rows else None
    for field in fields if rows else ():
        entry = _skew_of(table, field, skew) | {"drift": _drift_of(table, field, reference)}
        features[field.name] = entry
        reasons += _reasons(field.name, entry, skew)
    if rows and not any(entry["served"] for entry in features.values()):
        reasons.append("no request had a feature of the schema")
    return {"rows": rows, "features": features, "verdict": {"passes": not reasons, "reasons": reasons}}


def _skew_of(table: pa.Table, field: Field, skew: SkewConfig) -> dict[str, Any]:
    wrong = np.flatnonzero(_mismatched(table, field, skew.tolerance))
    served = len(table) - table[f"{SERVED}{field.name}"].null_count
    columns = ["row_id", "user_id", "label_time", f"{SERVED}{field.name}", f"{EXPECTED}{field.name}"]
    shown = table.select(columns).take(wrong[: skew.examples])
    return {
        "served": served,
        "mismatched": len(wrong),
        "share": len(wrong) / served if served else 0.0,
        "examples": [{**row, "label_time": row["label_time"].isoformat()} for row in shown.to_pylist()],
    }


def _mismatched(table: pa.Table, field: Field, tolerance: float) -> np.ndarray:
    """(rows,) bool: the feature was served, and is not what it should have been."""
    sides = (table[f"{side}{field.name}"].to_pylist() for side in (SERVED, EXPECTED))
    wrong = [was is not None and not _equal(was, should, tolerance) for was, should in zip(*sides, strict=True)]
    return np.array(wrong, bool)


def _equal(served: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(served, float):
        return abs(served - expected) <= tolerance * max(abs(served), abs(expected))
    if isinstance(served, list):
        return len(served) == len(expected) and all(
            _equal(a, b, tolerance) for a, b in zip(served, expected, strict=True)
        )
    return served == expected


def _reference(examples: Path, fields: tuple[Field, ...]) -> pa.Table:
    """Training rows: as many shards, each a random sample, as give enough of them."""
    shards = training.read_manifest(examples)["splits"]["train"]["shards"]
    parts, rows = [], 0
    for number, shard in enumerate(shards):
        parts.append(training.read_rows(examples, "train", [field.name for field in fields], number))
        rows += shard["examples"]
        if rows >= _REFERENCE_ROWS:
            break
    return pa.concat_tables(parts)


def _drift_of(table: pa.Table, field: Field, reference: pa.Table) -> dict[str, dict[str, float]]:
    """What is compared of a feature -> distances. Of a list: its length, and its values."""
    served, before = table[f"{SERVED}{field.name}"].drop_null().to_pylist(), reference[field.name].to_pylist()
    if not served or not before:
        return {}
    if not field.is_list:
        return {"value": _distance(field.dtype, before, served)}
    flat = [[part for row in side for part in row] for side in (before, served)]
    found = {"length": _distance("int64", [len(row) for row in before], [len(row) for row in served])}
    return found | ({"values": _distance(field.dtype, *flat)} if all(flat) else {})


def _distance(dtype: str, before: list[Any], served: list[Any]) -> dict[str, float]:
    found: Distance = categories(before, served) if dtype == "string" else numbers(np.array(before), np.array(served))
    return asdict(found)


def _reasons(name: str, entry: dict[str, Any], skew: SkewConfig) -> list[str]:
    reasons = []
    if entry["share"] > skew.max_mismatch:
        reasons.append(f"{name}: {entry['share']:.2%} of {entry['served']} rows are not what is computed offline")
    limits = {"psi": skew.max_psi, "divergence": skew.max_divergence, "ks": skew.max_ks}
    for part, distance in entry["drift"].items() if name not in skew.ignore else ():
        over = [f"{key} {distance[key]:.3f} > {limit:g}" for key, limit in limits.items() if distance[key] > limit]
        if over and distance["p_value"] < skew.significance:
            reasons.append(f"{name} ({part}) has drifted: {', '.join(over)}")
    return reasons
