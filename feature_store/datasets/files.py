"""Reading Parquet and delimited text into raw batches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from feature_store.datasets.dataset import Source
from feature_store.errors import DataError
from feature_store.row_checks import DeadLetter, RawBatch

_BLOCK_BYTES = 8 << 20
BATCH_ROWS = 1 << 16


def is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def delimiter(path: Path) -> str:
    """A tab for ``.tsv``, ``.txt`` and RecBole's files, else a comma; ``.gz`` and the like do not count."""
    suffixes = {suffix.lower() for suffix in path.suffixes}
    return "\t" if suffixes & {".tsv", ".txt", ".inter", ".user", ".item"} else ","


def require_file(path: Path) -> Path:
    if not path.is_file():
        raise DataError("there is no such file", file=path)
    return path


def header(path: Path) -> pa.Schema:
    """Names and types of a file's columns (for text: as its first rows read).

    Raises:
        DataError: not there, not readable (a truncated file, say), or without a single row.
    """
    require_file(path)
    if is_parquet(path):
        file = _parquet(path)
        if file.metadata.num_rows == 0:
            raise DataError("the file has no rows", file=path)
        return file.schema_arrow
    try:
        with csv.open_csv(
            path, csv.ReadOptions(block_size=1 << 20, use_threads=False), _parse(path)
        ) as reader:
            rows = sum(batch.num_rows for batch in _first(reader))
            schema = reader.schema
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise DataError(f"cannot be read as delimited text: {error}", file=path) from error
    if rows == 0:
        raise DataError("the file has no rows", file=path)
    return schema


def require_columns(path: Path, needed: Iterable[str], found: Iterable[str]) -> None:
    """Raises DataError where one of the ``needed`` columns is not ``found`` in the file."""
    found = list(found)
    for name in needed:
        if name not in found:
            raise DataError("the file has no such column", file=path, field=name, value=found)


def _first(reader: csv.CSVStreamingReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield batch
        if batch.num_rows:
            return


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"not a whole Parquet file: {error}", file=path) from error


def _parse(path: Path, quoted: bool = True, handler=None) -> csv.ParseOptions:
    return csv.ParseOptions(
        delimiter=delimiter(path),
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        invalid_row_handler=handler or (lambda row: "skip"),
    )


def read_parquet(source: Source, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    """``columns`` maps our names to the file's; the others are not read."""
    first = 0
    try:
        for batch in _parquet(Path(source.path)).iter_batches(BATCH_ROWS, columns=list(columns.values())):
            renamed = pa.record_batch({ours: batch.column(theirs) for ours, theirs in columns.items()})
            yield RawBatch(source.table, renamed, source.path, first, source.number)
            first += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"not a whole Parquet file: {error}", file=source.path) from error


def in_batches(source: Source, table: pa.Table) -> Iterator[RawBatch]:
    """A table that is held whole, as raw batches."""
    first = 0
    for batch in table.combine_chunks().to_batches(BATCH_ROWS):
        yield RawBatch(source.table, batch, source.path, first, source.number)
        first += batch.num_rows


def read_text(
    source: Source, columns: Mapping[str, str], quoted: bool = True, nulls: tuple[str, ...] = ()
) -> Iterator[RawBatch]:
    """Every column as text; a line with another number of columns than the header becomes a dead letter.

    ``first_row`` counts well-formed lines; ``nulls`` are texts that stand for a missing value.
    """
    path = Path(source.path)
    malformed: list[DeadLetter] = []

    def keep(row: csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} columns, the header has {row.expected_columns}"
        line = -1 if row.number is None else row.number
        malformed.append(DeadLetter(source.table, source.path, line, reason, json.dumps(row.text)))
        return "skip"

    convert = csv.ConvertOptions(
        column_types={name: pa.string() for name in columns.values()},
        include_columns=list(columns.values()),
        null_values=list(nulls),
        strings_can_be_null=bool(nulls),
        quoted_strings_can_be_null=False,
    )
    first = 0
    try:
        options = csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
        with csv.open_csv(path, options, _parse(path, quoted, keep), convert) as reader:
            for batch in reader:
                renamed = pa.record_batch({ours: batch.column(theirs) for ours, theirs in columns.items()})
                letters, malformed[:] = tuple(malformed), []
                yield RawBatch(source.table, renamed, source.path, first, source.number, letters)
                first += batch.num_rows
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise DataError(f"cannot be read as delimited text: {error}", file=path) from error
    if malformed:
        none = pa.record_batch({ours: pa.array([], pa.string()) for ours in columns})
        yield RawBatch(source.table, none, source.path, first, source.number, tuple(malformed))
