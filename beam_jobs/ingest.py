"""Raw logs to checked tables.

Users and items come first, then what users did, which is checked against their ids. Rows are checked batch by batch
where they are read, grouped by a hash of their id, and finished group by group into staged files; the table
folder is then written in id order from these, so that neither the order of arrival nor the number of groups
shows in it.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import apache_beam
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.io import advance, by_shard, progress, run_pipeline, staging_folder, table_of, write_parquet
from beam_jobs.options import BeamConfig
from feature_store.config import DataConfig
from feature_store.datasets import Dataset, Source, open_dataset
from feature_store.errors import DataError
from feature_store.row_checks import DeadLetter
from feature_store.schema import EVENT_TIME, Schema
from feature_store.table_folder import write_dead_letters, write_tables
from feature_store.tables import CheckContext, check, entities, finish, require_few_bad

JOB = "ingest"


@dataclass(frozen=True)
class _Stage:
    """What the steps need to know; pickles. ``known`` are the tables whose ids events may name."""

    folder: Path
    schema: Schema
    now: int
    max_future_seconds: float
    time_unit: str
    shards: int
    known: tuple[str, ...] = ()

    def context(self) -> CheckContext:
        ids = {name: _known_ids(self.folder, name, self.schema.table(name).key) for name in self.known}
        return CheckContext(self.schema, self.now, self.max_future_seconds, self.time_unit, **ids)


def run(data: DataConfig, out: Path, beam: BeamConfig) -> dict[str, Any]:
    """Reads, checks and writes a table folder.

    Returns:
        rows, duplicates and dead letters a table, the window of time, and the seconds taken.
    Raises:
        DataError: a file is missing or cannot be read, a column is missing, a table is empty, or more rows
            than ``data.max_bad_share`` are bad. Nothing is then written to ``out``; bad rows are left in
            ``<out>.rejected`` to be looked at.
    """
    started = time.monotonic()
    out = Path(out)
    dataset = open_dataset(data)
    rejected = out.with_name(f"{out.name}.rejected")
    shutil.rmtree(rejected, ignore_errors=True)
    with staging_folder(out) as folder, progress(JOB, "row"):
        present = tuple(name for name in ("users", "items") if dataset.of(name))
        limits = (int(time.time() * 1e6), data.max_future_seconds, data.time_unit, beam.shards)
        duplicates: Counter[str] = Counter()
        written = tuple(table.name for table in dataset.schema.tables())
        behaviour = tuple(name for name in written if name not in ("users", "items"))
        for names, known in ((present, ()), (behaviour, present)):
            if names:
                stage = _Stage(folder, dataset.schema, *limits, known)
                _stage_tables(dataset, names, stage, beam)
                duplicates.update(_accept(folder, names, data.max_bad_share, rejected))
        manifest = write_tables(
            out,
            dataset.schema,
            {name: _pieces(folder, dataset.schema, name) for name in written},
            _dead_letters(folder, written),
            duplicates,
            {"reader": data.reader, "path": data.path, **_test_start(dataset)},
        )
    described = manifest["tables"]
    return {
        "rows": {name: described[name]["rows"] for name in written},
        "duplicates": {name: described[name]["duplicates"] for name in written},
        "dead_letters": {name: dict(described[name]["dead_letters"]) for name in written},
        "window": manifest["window"],
        "seconds": round(time.monotonic() - started, 2),
    }


def _test_start(dataset: Dataset) -> dict[str, int]:
    return {} if dataset.test_start is None else {"test_start": dataset.test_start}


def _stage_tables(dataset: Dataset, names: tuple[str, ...], stage: _Stage, config: BeamConfig) -> None:
    """Leaves ``rows/<table>-<shard>.parquet`` and ``dead/<table>.parquet`` in the staging folder."""
    sources = [source for name in names for source in dataset.of(name)]

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Sources" >> apache_beam.Create(sources)
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "ReadAndCheck" >> apache_beam.FlatMap(_read_and_check, stage)
            | "Group" >> apache_beam.GroupByKey()
            | "Finish" >> apache_beam.Map(_finish_group, stage)
        )

    run_pipeline(config, build)


def _read_and_check(source: Source, stage: _Stage) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yields the batches of a source, keyed by the staged file they go to."""
    context = stage.context()
    key = stage.schema.table(source.table).key or "user_id"
    for raw in source.read():
        rows, dead = check(raw, context)
        advance(JOB, raw.batch.num_rows)
        for shard, part in by_shard(rows, key, stage.shards):
            yield f"rows/{source.table}-{shard:05d}", part
        if dead:
            letters = pa.Table.from_pylist([asdict(letter) for letter in dead])
            yield f"dead/{source.table}", letters.combine_chunks().to_batches()[0]


def _finish_group(group: tuple[str, Iterable[pa.RecordBatch]], stage: _Stage) -> str:
    name, batches = group
    kind, table = name.split("/")
    rows = table_of(batches)
    if kind == "rows":
        rows, duplicates = finish(table.rpartition("-")[0], rows)
        rows = rows.replace_schema_metadata({"duplicates": str(duplicates)})
    path = stage.folder / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    write_parquet(path, rows)
    return name


def _accept(folder: Path, names: tuple[str, ...], max_bad_share: float, rejected: Path) -> dict[str, int]:
    """Checks each table's share of bad rows; returns its duplicates.

    Raises:
        DataError: as `require_few_bad`; the bad rows are then left in ``rejected``.
    """
    duplicates = {}
    for name in names:
        shards = [pq.read_metadata(path) for path in _staged(folder, name)]
        duplicates[name] = sum(int(shard.metadata[b"duplicates"]) for shard in shards)
        rows = sum(shard.num_rows for shard in shards) + duplicates[name]
        reasons = Counter(letter.reason for letter in _dead_letters(folder, (name,)))
        try:
            require_few_bad(name, rows, reasons.total(), max_bad_share, reasons)
        except DataError as error:
            if not reasons:
                raise
            rejected.mkdir(parents=True)
            write_dead_letters(rejected, _dead_letters(folder, names))
            raise DataError(
                f"{error.rule}; the bad rows are in {rejected / 'dead_letter'}",
                field=error.field,
                value=error.value,
            ) from error
    return duplicates


def _staged(folder: Path, name: str) -> list[Path]:
    return sorted((folder / "rows").glob(f"{name}-*.parquet"))


@lru_cache
def _known_ids(folder: Path, name: str, key: str) -> pa.Array:
    """The ids of a staged table."""
    paths = _staged(folder, name)
    return pa.concat_arrays([pq.read_table(path, columns=[key])[key].combine_chunks() for path in paths])


def _dead_letters(folder: Path, names: tuple[str, ...]) -> Iterator[DeadLetter]:
    """The staged dead letters in the order of the logs."""
    for name in names:
        path = folder / "dead" / f"{name}.parquet"
        if path.exists():
            letters = pq.read_table(path).sort_by([("source", "ascending"), ("row", "ascending")])
            yield from (DeadLetter(**letter) for letter in letters.to_pylist())


def _pieces(folder: Path, schema: Schema, name: str) -> Iterator[pa.Table]:
    """A staged table in the order it is stored, sorted with as little memory as DuckDB needs."""
    table = schema.table(name)
    if not (paths := _staged(folder, name)):
        yield _ids_of_behaviour(folder, schema, name)
        return
    order = {
        "impressions": f"user_id, {EVENT_TIME}, impression_id",
        "searches": f"user_id, {EVENT_TIME}, query",
    }.get(name, table.key or f"user_id, {EVENT_TIME}")
    with duckdb.connect(config={"temp_directory": str(folder / "duckdb")}) as database:
        rows = database.read_parquet([str(path) for path in paths]).order(order)
        for batch in rows.to_arrow_reader(1 << 17):
            yield pa.Table.from_batches([batch])


def _ids_of_behaviour(folder: Path, schema: Schema, name: str) -> pa.Table:
    """Users or items of a data set that has no such table."""
    key = schema.table(name).key
    behaviour = [table for table in schema.tables() if table.name not in ("users", "items")]
    named = [table.name for table in behaviour if key in (field.name for field in table.fields)]
    return entities(schema, name, pa.concat_arrays([_known_ids(folder, table, key) for table in named]))
