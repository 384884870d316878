"""A knowledge base in a file of rows: JSON lines, Parquet, or delimited text with examples separated by "|"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from feature_store import intents
from feature_store.datasets import files
from feature_store.datasets.dataset import Source
from feature_store.errors import DataError
from feature_store.row_checks import DeadLetter, RawBatch


def read(path: Path, columns: Mapping[str, str]) -> Iterator[RawBatch]:
    """
    Args:
        columns: our names to the file's; a column that is not named is looked for under our name.
    Raises:
        DataError: the file is missing, cannot be read, has no rows, or lacks the ids' or the titles' column.
    """
    known = [field.name for field in intents.FIELDS]
    if odd := sorted(set(columns) - set(known)):
        raise DataError(f"columns are of {known}", file=path, field="columns", value=odd[0])
    if path.suffix == ".jsonl":
        yield _json_lines(files.require_file(path), {name: columns.get(name, name) for name in known})
        return
    found = files.header(path).names
    wanted = {field.name: columns.get(field.name, field.name) for field in intents.FIELDS}
    needed = [wanted[field.name] for field in intents.FIELDS if field.required or field.name in columns]
    files.require_columns(path, needed, found)
    there = {ours: theirs for ours, theirs in wanted.items() if theirs in found}
    reader = files.read_parquet if files.is_parquet(path) else files.read_text
    yield from reader(Source(intents.TABLE, str(path), 0, lambda source: iter(())), there)


def _json_lines(path: Path, columns: Mapping[str, str]) -> RawBatch:
    """One object a line; a line that is none, or whose values are of another kind, is a dead letter."""
    found, letters = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if not line.strip():
            continue
        try:
            found.append(_row(json.loads(line), columns))
        except ValueError as error:
            letters.append(DeadLetter(intents.TABLE, str(path), number, str(error), json.dumps(line)))
    if not found and not letters:
        raise DataError("the file has no rows", file=path)
    names = {field.name: field for field in intents.FIELDS}
    batch = pa.record_batch(
        {name: pa.array([row[name] for row in found], field.arrow_type) for name, field in names.items()}
    )
    return RawBatch(intents.TABLE, batch, str(path), 0, 0, tuple(letters))


def _row(value: object, columns: Mapping[str, str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("a line is one JSON object")
    row = {}
    for field in intents.FIELDS:
        given = value.get(columns[field.name])
        if field.is_list:
            given = [] if given is None else given
            ok = isinstance(given, list) and all(isinstance(each, str) for each in given)
        else:
            ok = given is None or isinstance(given, str)
        if not ok:
            raise ValueError(f"wrong type in {field.name}")
        row[field.name] = given
    return row
