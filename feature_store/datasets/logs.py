"""One's own logs: Parquet or delimited text, with a column mapping."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from feature_store.config import DataConfig
from feature_store.datasets import files
from feature_store.datasets.dataset import Dataset, Source
from feature_store.errors import DataError
from feature_store.row_checks import RawBatch
from feature_store.schema import ALL_TABLES, OPTIONAL_TABLES, Field, Schema


def tables(config: DataConfig) -> Dataset:
    """``config.users``, ``items``, ``events``, ``impressions``, ``searches`` name a file or a glob each (relative to
    ``config.path``); all but events may be left out. ``.parquet`` and ``.pq`` are read as Parquet, all else as text
    with a header line (commas; tabs in ``.tsv`` and ``.txt``; ``.gz`` is unpacked). Files of a glob are read in the
    order of their names.

    ``config.columns[table]`` maps our column names to the file's; a fixed column that is not mapped is
    looked for under its own name. Further columns of users and items become attributes, those of impressions their
    context: those the mapping
    names, or every one where the table has no mapping. A mapped name may carry its type: ``{"zip:string":
    "PLZ"}``.

    Raises:
        DataError: no file, a file that cannot be read or has no rows, a missing column, files that differ.
    """
    if not config.events:
        raise DataError("reader: tables needs the events' file or glob", field="events")
    attributes: dict[str, tuple[Field, ...]] = {table: () for table in ALL_TABLES}
    sources: list[Source] = []
    for table in ALL_TABLES:
        if not (pattern := getattr(config, table)):
            continue
        for number, path in enumerate(_paths(pattern, config.path)):
            columns, found = _columns(path, table, config.columns.get(table, {}))
            if number and found != attributes[table]:
                raise DataError(
                    "the files of one table have the same attributes",
                    file=path,
                    field=table,
                    value=[f"{f.name}:{f.dtype}" for f in found],
                )
            attributes[table] = found
            sources.append(Source(table, str(path), number, partial(_rows, columns=columns)))
    optional = tuple(table for table in OPTIONAL_TABLES if getattr(config, table))
    schema = Schema(
        attributes["users"], attributes["items"], impression_context=attributes["impressions"], optional=optional
    )
    return Dataset(schema, tuple(sources))


def _paths(pattern: str, base: str) -> list[Path]:
    paths = [Path(path) for path in sorted(glob.glob(str(Path(base) / pattern), recursive=True))]
    if not paths:
        raise DataError("no file matches", value=str(Path(base) / pattern))
    return paths


def _columns(path: Path, table: str, mapping: dict[str, str]) -> tuple[dict[str, str], tuple[Field, ...]]:
    """Our column names to the file's, and the attributes among them."""
    schema = files.header(path)
    typed = dict(name.partition(":")[::2] for name in mapping)  # our name -> dtype, "" where not given
    theirs = {name.partition(":")[0]: column for name, column in mapping.items()}
    files.require_columns(path, theirs.values(), schema.names)
    fixed = Schema().table(table).fields
    columns = {}
    for field in fixed:
        column = theirs.get(field.name, field.name)
        if column in schema.names:
            columns[field.name] = column
        elif field.required:
            raise DataError(
                "the file has no such column; map it with `columns`",
                file=path,
                field=field.name,
                value=schema.names,
            )
    if table in ("events", "searches"):
        return columns, ()
    taken = {field.name for field in fixed}
    if mapping:
        extra = {name: column for name, column in theirs.items() if name not in taken}
    else:
        extra = {name: name for name in schema.names if name not in columns.values()}
    fields = []
    for name, column in extra.items():
        fields.append(Field(name, typed.get(name) or _dtype(path, schema.field(column))))
    return columns | extra, tuple(fields)


def _dtype(path: Path, column: pa.Field) -> str:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "int64"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float32"
    if pa.types.is_nested(kind):
        raise DataError(
            "an attribute is one value, not a list or struct", file=path, field=column.name, value=str(kind)
        )
    return "string"


def _rows(source: Source, columns: dict[str, str]) -> Iterator[RawBatch]:
    if files.is_parquet(Path(source.path)):
        return files.read_parquet(source, columns)
    return files.read_text(source, columns)
