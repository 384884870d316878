"""Labelled requests: candidates that a user was shown and what became of each, with features as of just before.

A folder of requests is like one of examples: TFRecord shards a split, vocabularies, an items' file in the order of
their vocabulary, MANIFEST.json last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection
from tqdm import tqdm

from feature_store import folders
from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.request_schema import (
    CANDIDATES,
    ITEM,
    KEYS,
    LABELS,
    RequestFeature,
    checked,
    from_json,
    in_requests,
    to_json,
)
from feature_store.schema import Field
from feature_store.splits import SPLITS
from feature_store.tfrecord import decode_examples, encode_examples, read_records, write_records

KIND = "requests"
_ROWS = 1 << 15  # encoded at a time

_POSITIVES = f"SELECT count(*) FROM (SELECT unnest({LABELS}) AS label FROM {{split}}) WHERE label > 0"

Rows = pa.Table | Path
"""A split's requests: a table, or Parquet, in the order in which they are written; a shard is a run of them."""


def write(
    splits: Mapping[str, Rows],
    items: pa.Table,
    features: Sequence[RequestFeature],
    out: Path,
    shards: int = 8,
    about: Mapping[str, Any] | None = None,
    beside: Mapping[str, pa.Table] = MappingProxyType({}),
    every_item: bool = False,
) -> dict[str, Any]:
    """Writes a folder of requests whole and returns its manifest.

    Args:
        splits: of train, valid and test those there are, each with a column for each of ``KEYS`` and of ``features``
        that lie in requests. ``label_time`` may be a timestamp.
        items: ``item_id`` and a column for each feature of candidates. Candidates that are not among them are kept:
        to the model they are unknown.
        shards: of the training split; the others have one.
        about: what else the manifest is to say, such as what the features were made from.
        beside: tables that are to lie in the folder too, by the name of their Parquet file.
        every_item: the candidates of each request are all items. ``candidates`` then names those whose label is not 0;
        who reads requests adds the others.

    Raises:
        DataError: a split or a column is missing, or a row breaks a rule: candidates and labels of one length,
        at least one of them, a float vector of its width.
    """
    features = checked(features)
    if "train" not in splits:
        raise DataError("there must be requests to train on", field="train", value=sorted(splits))
    connection = connect()
    for split, rows in splits.items():
        if split not in SPLITS:
            raise DataError(f"a split is one of {SPLITS}", value=split)
        if isinstance(rows, pa.Table):
            connection.register(split, rows)
        else:
            connection.read_parquet(str(rows)).create_view(split)
        _check(connection, split, features)
    items = _items(items, features)
    with folders.new_folder(Path(out)) as folder:
        counts = {split: _one(connection, f"SELECT count(*) FROM {split}") for split in splits}
        if not counts["train"]:
            raise DataError("the training split holds no request", file=out)
        found = {}
        with tqdm(total=sum(counts.values()), desc="requests", unit="row", delay=2) as bar:
            for split, rows in splits.items():
                of = max(1, min(shards if split == "train" else 1, counts[split]))
                found[split] = {
                    "examples": counts[split],
                    "candidates": int(_one(connection, f"SELECT coalesce(sum(len({CANDIDATES})), 0) FROM {split}")),
                    "positives": int(_one(connection, _POSITIVES.format(split=split))),
                    "shards": list(_write_split(folder, split, _tables(rows), counts[split], of, features, bar)),
                }
        pq.write_table(items, folder / "items.parquet", compression="zstd", store_schema=False)
        for name, table in beside.items():
            pq.write_table(table, folder / name, compression="zstd")
        slate = max(_one(connection, f"SELECT coalesce(max(len({CANDIDATES})), 1) FROM {split}") for split in splits)
        manifest = {
            "kind": KIND,
            **(about or {}),
            "splits": found,
            "slate": len(items) if every_item else int(slate),  # candidates of a request at most
            "every_item": every_item,
            "features": to_json(features),
            "vocabulary": _write_vocabularies(folder, connection, items, features),
            "statistics": _statistics(connection, items, features),
            "items": {"rows": len(items), **folders.describe(folder / "items.parquet", folder)},
            "beside": [folders.describe(folder / name, folder) for name in beside],
        }
        folders.write_manifest(folder, manifest)
    return manifest


def read_manifest(folder: Path, hashes: bool = False) -> dict[str, Any]:
    """The manifest of a folder of requests; every shard is there and has its size (and hash, where asked).

    Raises:
        DataError: the folder is not whole, or not one of requests.
    """
    return folders.read_manifest_of(KIND, folder, "requests", hashes)


def read_rows(folder: Path, split: str, columns: Sequence[str]) -> pa.Table:
    """Columns of a split's requests, in the order of the records.

    Raises:
        DataError: the folder is not whole, or requests have no such column.
    """
    manifest = read_manifest(folder)
    spec = {field.name: field for field in fields(from_json(manifest["features"]))}
    if unknown := [name for name in columns if name not in spec]:
        raise DataError(f"requests have the features {list(spec)}", file=folder, field=unknown[0])
    shards = manifest["splits"][split]["shards"]
    records = [record for part in shards for record in read_records(Path(folder) / part["file"])]
    return decode_examples(records, [spec[name] for name in columns])


def fields(features: Sequence[RequestFeature]) -> list[Field]:
    """Of one example."""
    return [*KEYS, *(feature.field for feature in in_requests(features))]


def _check(connection: DuckDBPyConnection, split: str, features: Sequence[RequestFeature]) -> None:
    there = connection.sql(f"FROM {split}").columns
    for field in fields(features):
        if field.name not in there:
            raise DataError(f"the requests of {split} have no such column", field=field.name, value=there)
    wrong = connection.sql(
        f"SELECT request_id FROM {split} WHERE coalesce(len({CANDIDATES}), 0) = 0 "
        f"OR len({CANDIDATES}) IS DISTINCT FROM len({LABELS}) LIMIT 1"
    ).fetchall()
    if wrong:
        rule = f"a request of {split} has as many labels as candidates, and at least one"
        raise DataError(rule, field=LABELS, value=wrong[0][0])
    for feature in in_requests(features):
        if feature.kind == "vector":
            query = f'SELECT len("{feature.name}") FROM {split} WHERE len("{feature.name}") <> {feature.length} LIMIT 1'
            if wrong := connection.sql(query).fetchall():
                raise DataError(f"a vector holds {feature.length} numbers", field=feature.name, value=wrong[0][0])


def _tables(rows: Rows) -> Iterator[pa.Table]:
    if isinstance(rows, pa.Table):
        for first in range(0, len(rows), _ROWS):
            yield rows.slice(first, _ROWS)
    else:
        for batch in pq.ParquetFile(rows).iter_batches(_ROWS):
            yield pa.Table.from_batches([batch])


def _write_split(
    folder: Path,
    split: str,
    tables: Iterator[pa.Table],
    rows: int,
    shards: int,
    features: Sequence[RequestFeature],
    bar: tqdm,
) -> Iterator[dict[str, Any]]:
    """Cuts the rows into even shards; none is empty unless the split is."""
    ends = np.linspace(0, rows, shards + 1).astype(int)
    (folder / split).mkdir()
    spec, held = fields(features), []
    for shard in range(shards):
        size = int(ends[shard + 1] - ends[shard])
        while len(held) < size:
            table = next(tables)
            held += encode_examples(_filled(table, spec), spec)
            bar.update(len(table))
        path = folder / split / f"{shard:05d}-of-{shards:05d}.tfrecord"
        write_records(path, held[:size])
        held = held[size:]
        yield {"examples": size, **folders.describe(path, folder)}


def _filled(table: pa.Table, spec: Sequence[Field]) -> pa.Table:
    """The columns of ``spec`` in its types, the newest ``max_length`` of each list, missing values by their default."""
    columns = {}
    for field in spec:
        column = table[field.name].combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        if field.is_list:
            column = _lists(column.cast(pa.list_(field.arrow_type.value_type)), field)
        else:
            column = pc.fill_null(column.cast(field.arrow_type), pa.scalar(field.empty(), field.arrow_type))
        columns[field.name] = column
    return pa.table(columns)


def _lists(column: pa.ListArray, field: Field) -> pa.ListArray:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    width = field.shape[0]
    if width is None and not column.null_count and (not field.max_length or lengths.max(initial=0) <= field.max_length):
        return column
    default = pa.scalar(field.empty(), column.type)
    rows = pc.if_else(pc.is_valid(column), column, default) if column.null_count else column
    if not field.max_length:
        return rows
    return pa.array([row[-field.max_length :] for row in rows.to_pylist()], column.type)


def _items(items: pa.Table, features: Sequence[RequestFeature]) -> pa.Table:
    own = [feature.field for feature in features if feature.side == "candidate"]
    for name in ("item_id", *(field.name for field in own)):
        if name not in items.column_names:
            raise DataError("the items have no such column", field=name, value=items.column_names)
    items = items.sort_by("item_id")
    ids = items["item_id"].cast(pa.string()).combine_chunks()
    if len(pc.unique(ids)) != len(ids):
        raise DataError("an item stands once among the items", field="item_id")
    return _filled(items, own).append_column("item_id", ids) if own else pa.table({"item_id": ids})


def _write_vocabularies(
    folder: Path, connection: DuckDBPyConnection, items: pa.Table, features: Sequence[RequestFeature]
) -> dict[str, Any]:
    """The items' own, and each other one: the distinct values in training requests and of items, sorted."""
    (folder / "vocabulary").mkdir()
    values: dict[str, set[str]] = {ITEM: set(items["item_id"].to_pylist())}
    for feature in features:
        if feature.vocabulary and feature.vocabulary != ITEM:
            source = connection.from_arrow(items) if feature.side == "candidate" else connection.sql("FROM train")
            column = f'"{feature.name}"' if feature.kind == "single" else f'unnest("{feature.name}")'
            found = [v for (v,) in source.select(f"CAST({column} AS VARCHAR) AS value").distinct().fetchall() if v]
            known = (v for v in found if feature.dtype != "int64" or v[0] != "-")
            values.setdefault(feature.vocabulary, set()).update(known)
    found = {}
    for name, ids in values.items():
        path = folder / "vocabulary" / f"{name}.txt"
        path.write_text("".join(json.dumps(one) + "\n" for one in sorted(ids)), encoding="utf-8")
        found[name] = {"size": len(ids), **folders.describe(path, folder)}
    return found


def _statistics(
    connection: DuckDBPyConnection, items: pa.Table, features: Sequence[RequestFeature]
) -> dict[str, dict[str, float]]:
    """Mean and deviation of each single number as models read it (its logarithm where declared), in training requests
    or over the items; 0 and 1 where there is nothing to go by."""
    found = {}
    for feature in features:
        if feature.categorical or feature.kind != "single":
            continue
        source = connection.from_arrow(items) if feature.side == "candidate" else connection.sql("FROM train")
        value = f'CAST("{feature.name}" AS DOUBLE)'
        gone = f"isnan({value})" if feature.dtype == "float32" else f"{value} < 0"
        read = f"ln(1 + greatest({value}, 0))" if feature.log else value
        value = f"CASE WHEN {value} IS NULL OR {gone} THEN NULL ELSE {read} END"
        ((mean, deviation),) = source.aggregate(f"avg({value}), stddev_pop({value})").fetchall()
        found[feature.name] = {"mean": mean or 0.0, "deviation": deviation or 1.0}
    return found


def _one(connection: DuckDBPyConnection, query: str) -> int:
    ((value,),) = connection.sql(query).fetchall()
    return value
