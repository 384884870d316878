"""Online features: bulk writes and batched reads in Feast's own storage format.

Feast materializes a view row by row; here a batch of rows is encoded at once and goes out in one SQLite
transaction or one Redis pipeline. Feast's ``get_online_features`` reads what is written here, and this reads
Feast's. The formats are those of ``feast/infra/online_stores/{sqlite,redis}.py``, entity key serialization
version 3.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mmh3
import pyarrow as pa
import yaml
from google.protobuf.timestamp_pb2 import Timestamp

from feature_store.errors import DataError, StoreTimeout, StoreUnavailable
from feature_store.schema import EVENT_TIME, FeatureView, Field, Schema
from feature_store.wire import decode_value, encode_column

_STRING = 2  # ValueType.STRING
_SQLITE_KEYS = 10_000  # keys in one SELECT; SQLite allows 32,766 parameters


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
        values = [encode_column(field, _filled(field, rows[field.name])) for field in described.features]
        keys = [_entity_key(described.key, key) for key in rows[described.key].to_pylist()]
        times = rows[EVENT_TIME].cast(pa.int64()).to_pylist()
        self._write(described, keys, list(zip(*values, strict=True)), times)

    def read(self, view: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The features of each key, in the keys' order; an unknown key reads as the schema's defaults.

        All keys are one question to the store, however many (of SQLite's, 10,000 at a time).

        Raises:
            StoreUnavailable: the store cannot be reached or cannot answer; `StoreTimeout` where its time was over.
        """
        described = self._schema.view(view)
        if not described.features:
            return [{} for _ in keys]
        with self._reaching():
            found = list(self._read(described, [_entity_key(described.key, key) for key in keys]))
        return [
            {
                field.name: decode_value(field, value)
                for field, value in zip(described.features, row, strict=True)
            }
            for row in found
        ]

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
    def _write(
        self, view: FeatureView, keys: list[bytes], rows: list[tuple[bytes, ...]], times: list[int]
    ) -> None:
        """``rows`` holds each key's encoded features, ``times`` their event times in microseconds."""

    @abstractmethod
    def _read(self, view: FeatureView, keys: list[bytes]) -> Iterator[Sequence[bytes | None]]:
        """Each key's encoded features, None where there is none."""


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

    def _write(
        self, view: FeatureView, keys: list[bytes], rows: list[tuple[bytes, ...]], times: list[int]
    ) -> None:
        upsert = f"""
            INSERT INTO "{self._project}_{view.name}"
                (entity_key, feature_name, value, value_text, event_ts, created_ts) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value,
                value_text = excluded.value_text, event_ts = excluded.event_ts,
                created_ts = excluded.created_ts
            WHERE excluded.event_ts >= event_ts
        """
        with self._connection:
            self._connection.executemany(upsert, self._cells(view, keys, rows, times))

    @staticmethod
    def _cells(
        view: FeatureView, keys: list[bytes], rows: list[tuple[bytes, ...]], times: list[int]
    ) -> Iterator[tuple[Any, ...]]:
        for key, row, time in zip(keys, rows, times, strict=True):
            quarter, rest = divmod(time // 1_000_000, 900)  # where clocks change, they do on a quarter of an hour
            seconds = _local(quarter * 900) + rest
            for field, value in zip(view.features, row, strict=True):
                text = None if field.is_list else str(decode_value(field, value))
                yield key, field.name, value, text, seconds, seconds

    def _read(self, view: FeatureView, keys: list[bytes]) -> Iterator[Sequence[bytes | None]]:
        for first in range(0, len(keys), _SQLITE_KEYS):
            part = keys[first : first + _SQLITE_KEYS]
            query = f"""
                SELECT entity_key, feature_name, value FROM "{self._project}_{view.name}"
                WHERE entity_key IN ({",".join("?" * len(part))})
            """
            stored = {(key, name): value for key, name, value in self._connection.execute(query, part)}
            for key in part:
                yield [stored.get((key, field.name)) for field in view.features]


class RedisOnlineStore(OnlineStore):
    """A Redis server.

    Args:
        connection: Feast's connection string, "host:port[,option=value...]".
        timeout: seconds each answer of the server may take, and connecting to it; then nothing is tried again. None:
            no limit, and what redis-py tries again by itself.
    """

    def __init__(self, schema: Schema, project: str, connection: str, timeout: float | None = None) -> None:
        super().__init__(schema, project)
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        address, *options = connection.split(",")
        host, _, port = address.partition(":")
        settings = {name: _option(text) for name, text in (option.split("=", 1) for option in options)}
        if timeout is not None:
            once = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
            settings = {**once, **settings}
        self._client = Redis(host=host, port=int(port or 6379), **settings)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        from redis.exceptions import RedisError, TimeoutError

        try:
            yield
        except TimeoutError as error:
            raise StoreTimeout(str(error)) from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    def _write(
        self, view: FeatureView, keys: list[bytes], rows: list[tuple[bytes, ...]], times: list[int]
    ) -> None:
        hashes = [key + self._project.encode() for key in keys]
        time_field = f"_ts:{view.name}"
        with self._client.pipeline(transaction=False) as pipe:
            for name in hashes:
                pipe.hget(name, time_field)
            stored = [_microseconds(data) for data in pipe.execute()]
            fields = self._fields(view)
            for name, row, time, before in zip(hashes, rows, times, stored, strict=True):
                if before is None or time >= before:
                    mapping = dict(zip(fields, row, strict=True))
                    pipe.hset(name, mapping={**mapping, time_field: _timestamp(time).SerializeToString()})
            pipe.execute()

    def _read(self, view: FeatureView, keys: list[bytes]) -> Iterator[Sequence[bytes | None]]:
        fields = self._fields(view)
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key + self._project.encode(), fields)
            yield from pipe.execute()

    @staticmethod
    def _fields(view: FeatureView) -> list[bytes]:
        names = [f"{view.name}:{field.name}" for field in view.features]
        return [struct.pack("<I", mmh3.hash(name, signed=False)) for name in names]


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
        return SqliteOnlineStore(schema, config["project"], Path(repository) / store["path"], timeout)
    if store["type"] == "redis":
        return RedisOnlineStore(schema, config["project"], store["connection_string"], timeout)
    raise DataError(
        "an online store is sqlite or redis", file=path, field="online_store.type", value=store["type"]
    )


def _filled(field: Field, column: pa.Array) -> pa.Array:
    """The column with the field's default where there is nothing."""
    if not column.null_count:
        return column
    values = [field.empty() if value is None else value for value in column.to_pylist()]
    return pa.array(values, field.arrow_type)


def _entity_key(name: str, value: str) -> bytes:
    """Feast's key of a row with one string key (``serialize_entity_key``, version 3)."""
    name_bytes, value_bytes = name.encode(), value.encode()
    parts = [struct.pack("<III", 1, _STRING, len(name_bytes)), name_bytes]
    return b"".join([*parts, struct.pack("<II", _STRING, len(value_bytes)), value_bytes])


@functools.lru_cache(maxsize=1 << 16)
def _local(seconds: int) -> int:
    """A time as Feast's SQLite store has it: the naive UTC time read as local time."""
    return int(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).timestamp())


def _timestamp(microseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds)
    return stamp


def _microseconds(data: bytes | None) -> int | None:
    return None if data is None else Timestamp.FromString(data).ToMicroseconds()


def _option(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
