"""The online store in a SQLite file: Feast's tables, one row a key and feature."""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feature_store.errors import DataError, StoreTimeout, StoreUnavailable
from feature_store.online import OnlineStore
from feature_store.schema import FeatureView, Field, Schema
from feature_store.wire import encode_column

_SQLITE_KEYS = 10_000  # keys in one SELECT; SQLite allows 32,766 parameters
_QUARTER = 900  # seconds; where clocks change, they do on a quarter of an hour


class SqliteOnlineStore(OnlineStore):
    """A SQLite file whose tables ``definitions.apply`` has made.

    Args:
        timeout: seconds to wait for another's write to end; None: a minute.
    """

    def __init__(self, schema: Schema, project: str, path: Path, timeout: float | None = None) -> None:
        super().__init__(schema, project)
        if not path.is_file():
            raise DataError("there is no online store; apply the Feast repository first", file=path)
        self._connection = sqlite3.connect(path, check_same_thread=False, timeout=timeout or 60)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            busy = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            raise (StoreTimeout if busy else StoreUnavailable)(str(error)) from error

    def _write(self, view: FeatureView, keys: list[bytes], columns: list[pa.Array], times: np.ndarray) -> None:
        upsert = f"""
            INSERT INTO "{self._project}_{view.name}"
                (entity_key, feature_name, value, value_text, event_ts, created_ts) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value,
                value_text = excluded.value_text, event_ts = excluded.event_ts,
                created_ts = excluded.created_ts
            WHERE excluded.event_ts >= event_ts
        """
        # In the order of the keys, so that what comes next in the table's trees lies beside what came before.
        order = sorted(range(len(keys)), key=keys.__getitem__)
        named, seconds = [keys[at] for at in order], _seconds(times[order]).tolist()
        cells = [
            self._cells(field, named, column.take(pa.array(order)), seconds)
            for field, column in zip(view.features, columns, strict=True)
        ]
        with self._connection:
            self._connection.executemany(upsert, itertools.chain.from_iterable(zip(*cells, strict=True)))

    @staticmethod
    def _cells(field: Field, keys: list[bytes], column: pa.Array, seconds: list[int]) -> Iterator[tuple[Any, ...]]:
        """A feature's rows of the table."""
        name, nothing = itertools.repeat(field.name), itertools.repeat(None)
        texts = nothing if field.is_list else map(str, column.to_pylist())
        return zip(keys, name, encode_column(field, column), texts, seconds, seconds, strict=False)

    def _read(self, view: FeatureView, keys: list[bytes]) -> Iterator[tuple[Sequence[bytes | None], int | None]]:
        for first in range(0, len(keys), _SQLITE_KEYS):
            part = keys[first : first + _SQLITE_KEYS]
            query = f"""
                SELECT entity_key, feature_name, value, event_ts FROM "{self._project}_{view.name}"
                WHERE entity_key IN ({",".join("?" * len(part))})
            """
            stored, times = {}, {}
            for key, name, value, seconds in self._connection.execute(query, part):
                stored[key, name], times[key] = value, seconds
            for key in part:
                time = _microseconds(times[key]) if key in times else None
                yield [stored.get((key, field.name)) for field in view.features], time


@functools.lru_cache(maxsize=1 << 16)
def _microseconds(seconds: int) -> int:
    """The reverse of `_seconds`, of one time."""
    return int(datetime.fromtimestamp(seconds).replace(tzinfo=UTC).timestamp()) * 1_000_000


def _seconds(microseconds: np.ndarray) -> np.ndarray:
    """Times (n,) as Feast's SQLite store has them: the naive UTC time read as local time, in seconds."""
    quarters, rest = np.divmod(microseconds // 1_000_000, _QUARTER)
    found, index = np.unique(quarters, return_inverse=True)
    local = [int(datetime.fromtimestamp(q * _QUARTER, UTC).replace(tzinfo=None).timestamp()) for q in found.tolist()]
    return np.array(local, np.int64)[index] + rest
