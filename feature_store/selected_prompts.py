"""The prompts that each example was given, and the round in which: what Beam asks a language model (CoCo §4.2.1).

A row has numbers of codes, not their vectors: fifty bytes in place of ten thousand. The codebook lies beside, once for
each round that some row is still of.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store import folders
from feature_store.database import connect

KIND = "selected_prompts"
KEYS = ("user_id", "split", "label_time")
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("split", pa.string()),
        ("label_time", pa.int64()),
        ("history", pa.list_(pa.int32())),  # indices of items, oldest first
        ("codes", pa.list_(pa.int32())),  # rows of the codebook, nearest first; the shared prompts come before them
        ("weights", pa.list_(pa.float32())),  # what each code is multiplied with
    ]
)
_ROUND = pa.field("round", pa.int32())
_FRESH, _CARRIED = "fresh.parquet", "carried.parquet"
_GROUP_ROWS = 1024


def write(
    out: Path,
    rows: Iterable[pa.Table],
    codes: np.ndarray,
    shared: np.ndarray,
    number: int,
    described: Mapping[str, Any],
    previous: Path | None = None,
) -> dict[str, Any]:
    """Writes a folder whole: ``rows`` of this round, and those of ``previous`` of the users that have none among them.

    Args:
        rows: of `SCHEMA`, every example of each user. codes: (K, D). shared: (S, D). number: of the round.
        described: what the manifest says besides; ``parts``, the prompts an example may have, among it.
    Returns:
        the manifest.
    Raises:
        DataError: ``previous`` is not whole.
    """
    with folders.new_folder(Path(out)) as folder:
        with pq.ParquetWriter(folder / _FRESH, SCHEMA.append(_ROUND), compression="zstd") as writer:
            for part in rows:
                part = part.append_column(_ROUND, pa.repeat(pa.scalar(number, pa.int32()), len(part)))
                writer.write_table(part.cast(writer.schema), row_group_size=_GROUP_ROWS)
        used = {number}
        np.savez(folder / _codebook(number), codes=codes, shared=shared)
        files = [folder / _FRESH]
        with connect() as database:
            if previous is not None:
                files.append(folder / _CARRIED)
                used |= _carry(database, Path(previous), folder)
            count = "SELECT count(*), count(DISTINCT user_id) FROM read_parquet(?)"
            (fresh,), (every,) = (
                database.execute(count, [[str(file) for file in some]]).fetchall() for some in (files[:1], files)
            )
        files += [folder / _codebook(one) for one in sorted(used)]
        manifest = {
            "kind": KIND,
            "round": number,
            **described,
            "width": codes.shape[1],
            "rows": every[0],
            "users": every[1],
            "fresh_rows": fresh[0],
            "fresh_users": fresh[1],
            "rounds": sorted(used),
            "files": [folders.describe(file, folder) for file in files],
        }
        folders.write_manifest(folder, manifest)
    return manifest


def _carry(database: Any, previous: Path, folder: Path) -> set[int]:
    """Leaves the rows of ``previous`` of users without a fresh one; returns the rounds that they are of."""
    SelectedPrompts(previous)
    old = [str(file) for file in rows_of(previous)]
    query = """
        SELECT * FROM read_parquet($old) WHERE user_id NOT IN (SELECT user_id FROM read_parquet($fresh))
        ORDER BY user_id, split, label_time
    """
    kept = database.sql(query, params={"old": old, "fresh": str(folder / _FRESH)})
    with pq.ParquetWriter(folder / _CARRIED, SCHEMA.append(_ROUND), compression="zstd") as writer:
        for batch in kept.to_arrow_reader(_GROUP_ROWS):
            writer.write_table(pa.Table.from_batches([batch]).cast(writer.schema))
    column = pq.read_table(folder / _CARRIED, columns=["round"])["round"]
    used = set(column.unique().to_pylist())
    for one in used:
        shutil.copyfile(previous / _codebook(one), folder / _codebook(one))
    return used


def rows_of(folder: Path) -> list[Path]:
    """The files of a folder's rows."""
    return [file for file in (Path(folder) / _FRESH, Path(folder) / _CARRIED) if file.is_file()]


class SelectedPrompts:
    """A folder that `write` left.

    Attributes:
        folder: where it is. manifest: what it says of itself.
    Raises:
        DataError: the folder is not whole, or not one of selected prompts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = folders.read_manifest_of(KIND, self.folder, "selected prompts")
        self._books: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def fresh(self) -> list[tuple[str, int]]:
        """The pieces of the rows of this round: a file and a row group each."""
        file = self.folder / _FRESH
        return [(str(file), group) for group in range(pq.ParquetFile(file).num_row_groups)]

    def vectors(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of n rows the prompts (n, m, D), zeros at padding, their mask (n, m), and the histories (n, H), 0 before."""
        parts, width = self.manifest["parts"], self.manifest["width"]
        numbers = rows["round"].to_numpy()
        prompts, mask = None, np.zeros((len(rows), parts), bool)
        lists = [rows[name].combine_chunks() for name in ("codes", "weights")]
        for number in np.unique(numbers):
            codes, shared = self._book(int(number))
            if prompts is None:
                prompts = np.zeros((len(rows), parts, width), codes.dtype)
            here = numbers == number
            prompts[here, : len(shared)], mask[here, : len(shared)] = shared, True
            for row in np.flatnonzero(here):
                chosen, weights = (np.asarray(one[int(row)].values) for one in lists)
                places = slice(len(shared), len(shared) + len(chosen))
                prompts[row, places], mask[row, places] = codes[chosen] * weights[:, None], True
        return prompts, mask, _right_aligned(rows["history"].combine_chunks())

    def _book(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if number not in self._books:
            with np.load(self.folder / _codebook(number)) as book:
                self._books[number] = book["codes"], book["shared"]
        return self._books[number]


def _right_aligned(lists: pa.ListArray) -> np.ndarray:
    lengths = lists.value_lengths().to_numpy()
    width = max(int(lengths.max(initial=0)), 1)
    found = np.zeros((len(lists), width), np.int32)
    found[np.arange(width) >= width - lengths[:, None]] = lists.flatten().to_numpy()
    return found


def _codebook(number: int) -> str:
    return f"codebook-{number}.npz"
