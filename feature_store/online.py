"""Online features: bulk writes and batched reads in Feast's own storage format.

Feast materializes a view row by row; here a batch of rows is encoded at once and goes out in one SQLite
transaction (`online_sqlite`) or a few packets to Redis (`online_redis`). Feast's ``get_online_features`` reads what is
written here, and this reads Feast's. The formats are those of ``feast/infra/online_stores/{sqlite,redis}.py``, entity
key serialization version 3.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from feature_store.errors import DataError
from feature_store.schema import EVENT_TIME, FeatureView, Field, Schema
from feature_store.wire import decode_value

_STRING = 2  # ValueType.STRING


class OnlineStore(ABC):
    """Reads and writes the newest features of each key. Use as a context manager, or ``close`` it."""

    def __init__(self, schema: Schema, project: str) -> None:
        self._schema, self._project = schema, project

    def write(self, view: str, rows: pa.RecordBatch) -> None:
        """Stores rows of ``schema.view(view).arrow()``, at most one a key, whole batch at once.

        A row older than what is stored for its key is left out; one of the same time replaces it.
        """
        described = self._schema.view(view)
        if not described.features:
            return
        columns = [_filled(field, rows[field.name]) for field in described.features]
        keys = _entity_keys(described.key, rows[described.key].to_pylist())
        self._write(described, keys, columns, rows[EVENT_TIME].cast(pa.int64()).to_numpy())

    def read(self, view: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The features of each key, in the keys' order; an unknown key reads as the schema's defaults.

        All keys are one question to the store, however many (of SQLite's, 10,000 at a time).

        Raises:
            StoreUnavailable: the store cannot be reached or cannot answer; `StoreTimeout` where its time was over.
        """
        return self.read_with_times(view, keys)[0]

    def read_with_times(self, view: str, keys: Sequence[str]) -> tuple[list[dict[str, Any]], list[int | None]]:
        """As `read`, and from when on each key's features have been true, in microseconds; None of an unknown key."""
        described = self._schema.view(view)
        if not described.features:
            return [{} for _ in keys], [None] * len(keys)
        with self._reaching():
            found = list(self._read(described, _entity_keys(described.key, keys)))
        rows = [
            {
                field.name: decode_value(field, value)
                for field, value in zip(described.features, row, strict=True)
            }
            for row, _ in found
        ]
        return rows, [time for _, time in found]

    def defaults(self, view: str) -> dict[str, Any]:
        """What an unknown key reads as."""
        return self._schema.view(view).defaults()

    def __enter__(self) -> OnlineStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _reaching(self) -> AbstractContextManager[None]:
        """Raises the backend's own errors as `StoreUnavailable`."""

    @abstractmethod
    def _write(self, view: FeatureView, keys: list[bytes], columns: list[pa.Array], times: np.ndarray) -> None:
        """``columns`` are the features of the keys, without nulls; ``times`` (n,) their event times in microseconds."""

    @abstractmethod
    def _read(self, view: FeatureView, keys: list[bytes]) -> Iterator[tuple[Sequence[bytes | None], int | None]]:
        """Each key's encoded features, None where there is none, and their event time in microseconds."""


def open_online_store(repository: Path, schema: Schema, timeout: float | None = None) -> OnlineStore:
    """The online store of a Feast repository (its ``feature_store.yaml`` says which).

    Args:
        timeout: see the stores.

    Raises:
        DataError: no repository, no store, or a kind other than sqlite and redis.
    """
    path = Path(repository) / "feature_store.yaml"
    if not path.is_file():
        raise DataError("not a Feast repository: it has no feature_store.yaml", file=repository)
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    store = config["online_store"]
    if store["type"] == "sqlite":
        from feature_store.online_sqlite import SqliteOnlineStore

        return SqliteOnlineStore(schema, config["project"], Path(repository) / store["path"], timeout)
    if store["type"] == "redis":
        from feature_store.online_redis import RedisOnlineStore

        cluster = store.get("redis_type") == "redis_cluster"
        return RedisOnlineStore(schema, config["project"], store["connection_string"], timeout, cluster)
    raise DataError(
        "an online store is sqlite or redis", file=path, field="online_store.type", value=store["type"]
    )


def _filled(field: Field, column: pa.Array) -> pa.Array:
    """The column with the field's default where there is nothing."""
    if not column.null_count:
        return column
    values = [field.empty() if value is None else value for value in column.to_pylist()]
    return pa.array(values, field.arrow_type)


def _entity_keys(name: str, values: Sequence[str]) -> list[bytes]:
    """Feast's keys of rows with one string key (``serialize_entity_key``, version 3)."""
    start = b"%b%b" % (struct.pack("<III", 1, _STRING, len(name.encode())), name.encode())
    typed = struct.Struct("<II").pack
    return [b"%b%b%b" % (start, typed(_STRING, len(value)), value) for value in map(str.encode, values)]
