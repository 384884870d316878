"""DuckDB as this room uses it: in memory, quiet, times in UTC, what does not fit on disk."""

from __future__ import annotations

import tempfile

import duckdb


def connect(threads: int = 0, memory_limit: str = "") -> duckdb.DuckDBPyConnection:
    """A connection of its own. ``threads`` and ``memory_limit`` ("4GB") left out are DuckDB's own.

    Rows come out in no particular order unless the query sorts them.
    """
    settings = {"preserve_insertion_order": False, "temp_directory": tempfile.gettempdir()}
    given = {"threads": threads, "memory_limit": memory_limit}
    connection = duckdb.connect(config=settings | {name: value for name, value in given.items() if value})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it would print on standard output
    return connection
