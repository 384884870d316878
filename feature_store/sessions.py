"""Sessions of the chatbot: one's own logs or the simulator's, checked, split by time.

A folder has ``sessions.parquet``, in the order of time, ``dead_letter/`` and MANIFEST.json with the schema. Beside the
schema's columns a session has its ``split``: the last days test, those before validate, the rest trains.

What becomes of odd rows: a missing id or time, a value of the wrong type, an id that its dictionary does not have, an
intent shown, clicked or true that is not in the base, a click on what was not shown, lists of one group that differ in
length, and a time in the future go to ``dead_letter/sessions.jsonl`` with their reason. Of sessions with one id the
first is kept, the others are counted.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders, intents
from feature_store.casts import true
from feature_store.chat_config import ChatConfig
from feature_store.database import connect
from feature_store.datasets import files
from feature_store.datasets.dataset import Source
from feature_store.errors import DataError
from feature_store.row_checks import Checked, DeadLetter, RawBatch
from feature_store.session_schema import (
    CLICKED,
    FIXED,
    SESSION_ID,
    SESSION_TIME,
    SHOWN,
    TRUE,
    SessionSchema,
)
from feature_store.table_folder import write_dead_letters
from feature_store.tables import require_few_bad

KIND, TABLE, SPLIT = "sessions", "sessions", "split"
_DAY = 86_400_000_000


def run(raw: Path, schema: Path, base: Path, out: Path, config: ChatConfig) -> dict[str, Any]:
    """Reads, checks and writes a folder of sessions.

    Args:
        raw: the log, Parquet or delimited text with a column for each of the schema's fields; lists in text are
            separated by "|". schema: JSON, of `SessionSchema`. base: a folder of `intents`.
    Returns:
        counts of sessions by split, of those with a label, of duplicates and dead letters; the window of time.
    Raises:
        DataError: a file is missing or cannot be read, a required column is missing, too many rows are bad, or a split
            has no session.
    """
    told = read_schema(schema)
    known = intents.read(base)["intent_id"].combine_chunks()
    letters: list[DeadLetter] = []
    with folders.new_folder(Path(out)) as folder:
        staged = folder / "staged.parquet"
        good = _stage(raw, told, known, staged, letters, config)
        reasons = Counter(letter.reason for letter in letters)
        require_few_bad(TABLE, good, len(letters), config.max_bad_share, reasons)
        path = folder / "sessions.parquet"
        window = _write(staged, told, path, config)
        staged.unlink()
        write_dead_letters(folder, letters)
        counts = _counts(path)
        for split in ("train", "test"):
            if not counts["splits"].get(split):
                raise DataError("has no session; see test_days and valid_days", file=raw, field=split, value=counts)
        manifest = {
            "kind": KIND,
            "source": str(raw),
            "intents": intents.read_manifest(base)["version"],
            "schema": told.to_json(),
            "window": window,
            **counts,
            "duplicates": good - sum(counts["splits"].values()),
            "dead_letters": dict(reasons),
            "sessions": folders.describe(path, folder),
        }
        folders.write_manifest(folder, manifest)
    told_back = ("splits", "labelled", "duplicates", "dead_letters", "window")
    return {name: manifest[name] for name in told_back}


def read_schema(path: Path) -> SessionSchema:
    """
    Raises:
        DataError: no such file, no JSON, or not a schema of sessions.
    """
    files.require_file(Path(path))
    try:
        return SessionSchema.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(str(error), file=path) from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises DataError where the folder is not whole, or not one of sessions."""
    return folders.read_manifest_of(KIND, Path(folder), "sessions")


def schema_of(folder: Path) -> SessionSchema:
    """Raises DataError as `read_manifest`."""
    return SessionSchema.from_json(read_manifest(folder)["schema"])


def batches(folder: Path, columns: list[str], rows: int = 1 << 13) -> Iterator[pa.Table]:
    """Columns of the sessions in the order of time, some at once; the manifest has been read."""
    for batch in pq.ParquetFile(Path(folder) / "sessions.parquet").iter_batches(rows, columns=columns):
        yield pa.Table.from_batches([batch]).select(columns)


def _stage(
    raw: Path, schema: SessionSchema, known: pa.Array, staged: Path, letters: list[DeadLetter], config: ChatConfig
) -> int:
    """Writes the good rows as they come, numbered; returns how many."""
    latest = int((time.time() + config.max_future_seconds) * 1e6)
    found = files.header(raw).names
    required = [field.name for field in FIXED if field.required]
    files.require_columns(raw, required, found)
    columns = {field.name: field.name for field in schema.fields if field.name in found}
    read = files.read_parquet if files.is_parquet(raw) else files.read_text
    count = 0
    with pq.ParquetWriter(staged, schema.arrow().append(pa.field("row", pa.int64()))) as writer, tqdm(
        desc=TABLE, unit="row", delay=2
    ) as bar:
        for batch in read(Source(TABLE, str(raw), 0, lambda source: iter(())), columns):
            rows = _checked(batch, schema, known, latest)
            letters += rows.dead_letters()
            good = rows.good()
            good = good.append_column("row", pa.array(np.arange(count, count + len(good))))
            writer.write_table(good.cast(writer.schema))
            count += len(good)
            bar.update(batch.batch.num_rows)
    return count


def _checked(raw: RawBatch, schema: SessionSchema, known: pa.Array, latest: int) -> Checked:
    rows = Checked(raw, schema.fields)
    columns = rows.columns
    rows.mark(true(pc.greater(columns[SESSION_TIME].cast(pa.int64()), latest)), f"time in the future in {SESSION_TIME}")
    for name in (SHOWN, CLICKED, TRUE):
        rows.mark(_any_outside(columns[name], known), f"unknown intent in {name}")
    rows.mark(_clicked_unseen(columns), "clicked what was not shown")
    for feature in schema.features:
        if feature.dtype == "int64":
            ids = pa.array(list(schema.dictionaries[feature.dictionary]), pa.int64())
            values = columns[feature.name]
            odd = _any_outside(values, ids) if feature.is_list else _outside(values, ids)
            rows.mark(odd, f"unknown id in {feature.name}")
    for group, members in schema.groups.items():
        lengths = [pc.list_value_length(columns[each.name]).to_numpy(zero_copy_only=False) for each in members]
        odd = np.any([length != lengths[0] for length in lengths], axis=0)
        rows.mark(odd, f"lists of the group {group} differ in length")
    return rows


def _outside(values: pa.Array, known: pa.Array) -> np.ndarray:
    return true(pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=known))))


def _any_outside(lists: pa.ListArray, known: pa.Array) -> np.ndarray:
    values = lists.flatten()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    parents = np.repeat(np.arange(len(lists)), lengths)
    odd = np.zeros(len(lists), bool)
    odd[parents[~true(pc.is_in(values, value_set=known))]] = True
    return odd


def _clicked_unseen(columns: dict[str, pa.Array]) -> np.ndarray:
    clicks, slates = columns[CLICKED], columns[SHOWN]
    odd = np.zeros(len(clicks), bool)
    some = np.flatnonzero(pc.greater(pc.list_value_length(clicks), 0).to_numpy(zero_copy_only=False))
    for row in some:
        odd[row] = not set(clicks[row].as_py()) <= set(slates[row].as_py())
    return odd


def _write(staged: Path, schema: SessionSchema, path: Path, config: ChatConfig) -> dict[str, str]:
    """The staged rows in the order of time, each id once, with their split. Returns the window of time."""
    names = ", ".join(f'"{name}"' for name in schema.arrow().names)
    with connect() as database:
        database.read_parquet(str(staged)).create_view("staged")
        ends = database.sql(f"SELECT epoch_us(min({SESSION_TIME})), epoch_us(max({SESSION_TIME})) FROM staged")
        ((first, last),) = ends.fetchall()
        end = (last // _DAY + 1) * _DAY  # splits begin at midnight
        test = end - int(config.test_days * _DAY)
        valid = test - int(config.valid_days * _DAY)
        query = f"""
            SELECT {names}, CASE WHEN epoch_us({SESSION_TIME}) >= {test} THEN 'test'
                WHEN epoch_us({SESSION_TIME}) >= {valid} THEN 'valid' ELSE 'train' END AS {SPLIT}
            FROM staged QUALIFY row_number() OVER (PARTITION BY {SESSION_ID} ORDER BY row) = 1
            ORDER BY {SESSION_TIME}, {SESSION_ID}
        """
        target = schema.arrow().append(pa.field(SPLIT, pa.string()))
        with pq.ParquetWriter(path, target, compression="zstd") as writer:
            for batch in database.sql(query).to_arrow_reader(1 << 14):
                writer.write_table(pa.Table.from_batches([batch]).cast(target))
    return {name: datetime.fromtimestamp(value / 1e6, UTC).isoformat() for name, value in
            (("first", first), ("last", last), ("valid", valid), ("test", test))}  # fmt: skip


def _counts(path: Path) -> dict[str, Any]:
    with connect() as database:
        labels = f"CASE WHEN {SPLIT} = 'test' THEN {TRUE} ELSE {CLICKED} END"
        query = f"""
            SELECT {SPLIT}, count(*), count(*) FILTER (len({labels}) > 0)
            FROM read_parquet($path) GROUP BY ALL ORDER BY ALL
        """
        rows = database.sql(query, params={"path": str(path)}).fetchall()
    return {"splits": {split: count for split, count, _ in rows}, "labelled": {split: some for split, _, some in rows}}
