"""Offline feature views from the tables: one Parquet file a view, each row true from its ``event_time``
on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders
from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.schema import CREATED_TIME, EVENT_TIME, FeatureView, Schema
from feature_store.table_folder import read_manifest, read_schema

_CHUNK_EVENTS = 1 << 15  # rows of user_history made at a time: this many times L ids in memory


def write_views(tables: Path, knowledge: Path | None, folder: Path, history_length: int) -> dict[str, Any]:
    """Writes ``<view>.parquet`` for every view into ``folder`` and returns what its manifest says of them:
    ``{"kind": "features", "views": {name: {rows, file, bytes, sha256}}, "schema": ..., "events": sha256}``.

    ``knowledge`` is the folder of the item-text vectors (``knowledge/item_text``); None leaves ``item_text``
    out. ``folder`` is one that is renamed into place later (``folders.new_folder``).

    Raises:
        DataError: the tables or the vectors are not whole, or vectors differ in width.
    """
    width = _text_width(knowledge) if knowledge is not None else 0
    manifest = read_manifest(tables)
    schema = read_schema(tables, history_length, width)
    sources = {
        "user_profile": lambda view: _user_profile(tables, view),
        "user_history": lambda view: user_history(tables / "events.parquet", view, history_length),
        "item_profile": lambda view: _static(tables / "items.parquet", view, manifest["window"]["first"]),
        "item_text": lambda view: _static(_vectors(knowledge), view, manifest["window"]["first"]),
    }
    described = {}
    for view in schema.views():
        path = folder / f"{view.name}.parquet"
        rows = 0
        with pq.ParquetWriter(path, view.arrow(), compression="zstd", store_schema=False) as writer:
            for batch in sources[view.name](view):
                writer.write_batch(batch, row_group_size=_CHUNK_EVENTS)
                rows += batch.num_rows
        described[view.name] = {"rows": rows, **folders.describe(path, folder)}
    kept = schema.to_json() | {"history_length": history_length, "text_width": width}
    events = manifest["tables"]["events"]["sha256"]
    return {"kind": "features", "views": described, "schema": kept, "events": events}


def read_features(features: Path, hashes: bool = False) -> tuple[dict[str, Any], Schema]:
    """The manifest of a features folder, and its schema.

    Raises:
        DataError: the folder is not whole.
    """
    manifest = folders.read_manifest_of("features", features, "features", hashes)
    kept = manifest["schema"]
    return manifest, Schema.from_json(kept, kept["history_length"], kept["text_width"])


def latest(path: Path, view: FeatureView, batch_rows: int = 1 << 14) -> Iterator[pa.RecordBatch]:
    """The newest row of every key of a view's file (in no particular order): what the online store holds."""
    connection = connect()
    # Finding the newest times first keeps the features themselves, lists among them, out of the aggregate.
    times = f'row("{EVENT_TIME}", "{CREATED_TIME}")'
    newest = f"""
        WITH rows AS (SELECT * FROM read_parquet(?)),
            ends AS (SELECT "{view.key}" AS key, max({times}) AS newest FROM rows GROUP BY 1)
        SELECT rows.* FROM rows JOIN ends ON "{view.key}" = ends.key AND {times} = newest
    """
    for batch in connection.sql(newest, params=[str(path)]).to_arrow_reader(batch_rows):
        yield batch.select(view.arrow().names).cast(view.arrow())


def user_history(events: Path, view: FeatureView, history_length: int) -> Iterator[pa.RecordBatch]:
    """After each event: the newest ``history_length`` item ids, oldest first, and how many events there were.

    ``events`` is sorted by (user_id, event_time). Read in pieces: of what came before, only the last user's
    newest events are kept, so memory does not grow with the log.
    """
    columns = ["user_id", "item_id", EVENT_TIME, CREATED_TIME]
    file = pq.ParquetFile(events)
    kept, kept_count = file.schema_arrow.empty_table().select(columns), 0
    with tqdm(total=file.metadata.num_rows, desc="user_history", unit="event", delay=2) as bar:
        for batch in file.iter_batches(_CHUNK_EVENTS, columns=columns):
            rows = pa.concat_tables([kept, pa.Table.from_batches([batch])]).combine_chunks()
            users = rows["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
            at = np.arange(len(users))
            start = np.maximum.accumulate(np.where(np.r_[True, users[1:] != users[:-1]], at, 0))
            known = at - start + 1
            count = known + np.where(start == 0, kept_count - len(kept), 0) if len(kept) else known
            new = slice(len(kept), None)
            length = np.minimum(known, history_length)[new]
            items = rows["item_id"].combine_chunks()
            yield pa.record_batch(
                [
                    rows["user_id"].combine_chunks()[new],
                    rows[EVENT_TIME].combine_chunks()[new],
                    rows[CREATED_TIME].combine_chunks()[new],
                    _lists(items, at[new] - length + 1, length),
                    pa.array(count[new]),
                ],
                schema=view.arrow(),
            )
            bar.update(batch.num_rows)
            kept_count = int(count[-1])
            kept = rows.slice(len(rows) - min(int(known[-1]), history_length))


def _lists(values: pa.Array, begin: np.ndarray, length: np.ndarray) -> pa.Array:
    """List i holds ``values[begin[i] : begin[i] + length[i]]``; ``begin`` and ``length`` (B,)."""
    offsets = np.r_[0, np.cumsum(length)]
    chosen = np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], length)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(pa.array(chosen)))


def _user_profile(tables: Path, view: FeatureView) -> Iterator[pa.RecordBatch]:
    """From the user's first event on (of the log's first event, where the user has none)."""
    connection = connect()
    query = f"""
        WITH firsts AS (SELECT user_id, min({EVENT_TIME}) AS first FROM read_parquet(?) GROUP BY user_id)
        SELECT u.*, coalesce(first, (SELECT min(first) FROM firsts)) AS {EVENT_TIME}
        FROM read_parquet(?) u LEFT JOIN firsts USING (user_id) ORDER BY user_id
    """
    files = [str(tables / "events.parquet"), str(tables / "users.parquet")]
    for batch in connection.sql(query, params=files).to_arrow_reader(_CHUNK_EVENTS):
        yield fill(batch.append_column(CREATED_TIME, batch[EVENT_TIME]), view)


def _static(path: Path | list[Path], view: FeatureView, since: int) -> Iterator[pa.RecordBatch]:
    """Features that do not change, true from ``since`` (microseconds) on."""
    columns = [view.key, *(field.name for field in view.features)]
    for batch in ds.dataset(path, format="parquet").to_batches(columns=columns, batch_size=_CHUNK_EVENTS):
        times = pa.repeat(since, batch.num_rows).cast(pa.timestamp("us", tz="UTC"))
        yield fill(batch.append_column(EVENT_TIME, times).append_column(CREATED_TIME, times), view)


def fill(batch: pa.RecordBatch, view: FeatureView) -> pa.RecordBatch:
    """The view's columns, nulls at their defaults."""
    schema = view.arrow()
    columns = {name: batch[name].cast(schema.field(name).type) for name in schema.names}
    for field in view.features:
        values = columns[field.name]
        if values.null_count:
            default = pa.scalar(field.empty(), values.type)
            columns[field.name] = pc.if_else(pc.is_null(values), default, values)
    return pa.record_batch(columns, schema=schema)


def _vectors(knowledge: Path) -> list[Path]:
    return sorted(Path(knowledge).glob("*.parquet"))


def _text_width(knowledge: Path) -> int:
    folders.read_manifest(knowledge)
    if not (paths := _vectors(knowledge)):
        raise DataError("the folder holds no Parquet files", file=knowledge)
    widths: set[int] = set()
    for batch in ds.dataset(paths, format="parquet").to_batches(columns=["vector"]):
        widths.update(pc.unique(pc.list_value_length(batch["vector"])).to_pylist())
    if len(widths) != 1 or not all(widths):
        raise DataError(
            "all vectors have one width", file=knowledge, field="vector", value=sorted(map(str, widths))
        )
    return widths.pop()
