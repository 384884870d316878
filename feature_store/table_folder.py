"""Table folders on disk: parquet files, dead letters, manifest last."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store import folders
from feature_store.errors import DataError
from feature_store.row_checks import DeadLetter
from feature_store.schema import EVENT_TIME, Schema


def write_tables(
    out: Path,
    schema: Schema,
    tables: Mapping[str, Iterable[pa.Table]],
    dead_letters: Iterable[DeadLetter],
    duplicates: Mapping[str, int],
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes a table folder whole: parquet files, dead letters, manifest last. Returns the manifest.

    ``tables`` gives each table in pieces, already finished and in the order they are to be stored.
    ``source`` says where the data came from and is kept in the manifest as it is.

    Raises:
        DataError: a piece has other columns than the schema, or events are not sorted by (user, time).
    """
    with folders.new_folder(Path(out)) as folder:
        described, window = {}, None
        for table in schema.tables():
            path = folder / f"{table.name}.parquet"
            rows = 0
            previous = None
            with pq.ParquetWriter(path, table.arrow(), compression="zstd") as writer:
                for piece in tables[table.name]:
                    piece = _matching(piece, table.arrow(), table.name)
                    if table.name == "events" and piece.num_rows:
                        previous = _require_sorted(piece, previous)
                        window = _wider(window, piece)
                    writer.write_table(piece, row_group_size=1 << 17)
                    rows += piece.num_rows
            described[table.name] = {
                "rows": rows,
                "duplicates": duplicates.get(table.name, 0),
                **folders.describe(path, folder),
            }
        reasons = write_dead_letters(folder, dead_letters)
        for name in described:
            described[name]["dead_letters"] = reasons[name]
        manifest = {
            "kind": "tables",
            "source": dict(source),
            "tables": described,
            "window": dict(zip(("first", "last"), window or (None, None), strict=True)),
            "schema": schema.to_json(),
        }
        folders.write_manifest(folder, manifest)
    return manifest


def _matching(piece: pa.Table, expected: pa.Schema, name: str) -> pa.Table:
    if set(piece.schema.names) != set(expected.names):
        raise DataError(f"the table's columns are {expected.names}", field=name, value=piece.schema.names)
    return piece.select(expected.names).cast(expected)


def _require_sorted(piece: pa.Table, previous: tuple[str, int] | None) -> tuple[str, int]:
    users, times = piece["user_id"].combine_chunks(), piece[EVENT_TIME].cast(pa.int64()).combine_chunks()
    if len(users) > 1:
        same = pc.equal(users[1:], users[:-1])
        later = pc.greater(times[1:], times[:-1])
        if not pc.all(pc.if_else(same, later, pc.greater(users[1:], users[:-1]))).as_py():
            raise DataError("events are sorted by (user_id, event_time), no two alike", field="events")
    first = (users[0].as_py(), times[0].as_py())
    if previous is not None and first <= previous:
        raise DataError(
            "events are sorted by (user_id, event_time), no two alike", field="events", value=first
        )
    return users[-1].as_py(), times[-1].as_py()


def _wider(window: tuple[int, int] | None, piece: pa.Table) -> tuple[int, int]:
    ends = pc.min_max(piece[EVENT_TIME].cast(pa.int64())).as_py()
    return min(ends["min"], window[0] if window else ends["min"]), max(
        ends["max"], window[1] if window else ends["max"]
    )


def write_dead_letters(folder: Path, dead_letters: Iterable[DeadLetter]) -> dict[str, Counter[str]]:
    """Writes ``dead_letter/<table>.jsonl`` into a folder; returns how many of each reason, per table."""
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    (folder / "dead_letter").mkdir()
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for letter in dead_letters:
            if letter.table not in files:
                path = folder / "dead_letter" / f"{letter.table}.jsonl"
                files[letter.table] = stack.enter_context(path.open("w", encoding="utf-8"))
            files[letter.table].write(json.dumps(asdict(letter), ensure_ascii=False) + "\n")
            reasons[letter.table][letter.reason] += 1
    return reasons


def read_manifest(tables: Path, hashes: bool = True) -> dict[str, Any]:
    """The manifest of a table folder.

    Raises:
        DataError: the folder is not whole, or a file is not the one its manifest describes.
    """
    return folders.read_manifest_of("tables", tables, "tables", hashes)


def read_schema(tables: Path, history_length: int = 50, text_width: int = 0) -> Schema:
    """The schema of a table folder, from its manifest."""
    return Schema.from_json(read_manifest(tables, hashes=False)["schema"], history_length, text_width)


def read_table(tables: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """One table of a folder whose manifest has been read."""
    return pq.read_table(Path(tables) / f"{name}.parquet", columns=columns)
