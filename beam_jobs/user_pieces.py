"""Users in pieces, each with what its users did: the tables are sorted by user, so only those rows are read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

_USERS = 8192

Piece = tuple[str, str]
"""The first and the last id."""


def pieces(users: pa.ChunkedArray) -> list[Piece]:
    """Sorted user ids in pieces."""
    last = len(users) - 1
    return [(users[n].as_py(), users[min(n + _USERS - 1, last)].as_py()) for n in range(0, len(users), _USERS)]


def rows_of(path: Path, piece: Piece, columns: list[str] | None = None) -> pa.Table:
    """The rows of a piece's users in a table that is sorted by user."""
    wanted = (ds.field("user_id") >= piece[0]) & (ds.field("user_id") <= piece[1])
    return ds.dataset(path, format="parquet").to_table(columns=columns, filter=wanted)


@lru_cache(maxsize=4)
def categories(tables: Path, which: str = "all") -> dict[str, tuple[str, ...]]:
    """The categories of each item: all, or with ``leaf`` the last one."""
    items = pq.read_table(tables / "items.parquet", columns=["item_id", "categories"])
    lists = [tuple(names or ()) for names in items["categories"].to_pylist()]
    return dict(zip(items["item_id"].to_pylist(), (n if which == "all" else n[-1:] for n in lists), strict=True))
