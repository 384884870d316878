"""The online store in Redis, one server or a cluster: Feast's hashes, one a key.

A write asks for the stored times and then sets what is newer. To one server both are sent as packets made here: Redis's
protocol is a few bytes around each value, and a client that packs and parses command by command takes longer than the
server. A packet is made while the server works on the one before. To a cluster they go through the client's own
pipeline, which knows where each key lies.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa

from feature_store.errors import StoreTimeout, StoreUnavailable
from feature_store.online import OnlineStore
from feature_store.schema import FeatureView, Schema
from feature_store.wire import encode_column, read_varint, varint

_PACKET = 1024  # commands sent at once


class RedisOnlineStore(OnlineStore):
    """A Redis server, or a cluster.

    Args:
        connection: Feast's connection string, "host:port[,option=value...]"; of a cluster "host:port[,host:port...]",
            any of its nodes, and options. timeout: seconds each answer of the server may take, and connecting to it;
            then nothing is tried again. None: no limit, and what redis-py tries again by itself.
    """

    def __init__(
        self, schema: Schema, project: str, connection: str, timeout: float | None = None, cluster: bool = False
    ) -> None:
        super().__init__(schema, project)
        self._cluster = cluster
        parts = connection.split(",")
        nodes = [part.partition(":")[::2] for part in parts if "=" not in part]
        settings = {name: _option(text) for name, text in (part.split("=", 1) for part in parts if "=" in part)}
        if timeout is not None:
            settings = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **settings}
        self._nodes, self._settings, self._once = nodes, settings, timeout is not None

    @cached_property
    def _client(self) -> Any:
        """Made when it is first used: that of a cluster asks it at once which server has which keys."""
        if self._cluster:
            return _cluster(self._nodes, self._settings)
        return _server(self._nodes[0], self._settings, self._once)

    def close(self) -> None:
        if "_client" in vars(self):
            self._client.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        from redis.exceptions import RedisClusterException, RedisError, TimeoutError

        try:
            yield
        except TimeoutError as error:
            raise StoreTimeout(str(error)) from error
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    def _write(self, view: FeatureView, keys: list[bytes], columns: list[pa.Array], times: np.ndarray) -> None:
        names = [key + self._project.encode() for key in keys]
        values = [encode_column(field, column) for field, column in zip(view.features, columns, strict=True)]
        time_field = f"_ts:{view.name}".encode()
        stored = self._send((b"HGET", None, time_field), zip(names, strict=True))
        fields = itertools.chain.from_iterable((field, None) for field in self._fields(view))
        self._send(
            (b"HSET", None, *fields, time_field, None),
            (
                (*row, _timestamp(time))
                for time, before, *row in zip(times.tolist(), stored, names, *values, strict=True)
                if before is None or time >= _microseconds(before)
            ),
        )

    def _read(self, view: FeatureView, keys: list[bytes]) -> Iterator[tuple[Sequence[bytes | None], int | None]]:
        fields = [*self._fields(view), f"_ts:{view.name}".encode()]
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key + self._project.encode(), fields)
            for *row, time in pipe.execute():
                yield row, None if time is None else _microseconds(time)

    def _send(self, command: Sequence[bytes | None], rows: Iterable[tuple[bytes, ...]]) -> list[Any]:
        """The answers to one command a row, in their order; the row's values stand where ``command`` has None."""
        if self._cluster:
            with self._client.pipeline() as pipe:
                name, *parts = command
                for row in rows:
                    own = iter(row)
                    pipe.execute_command(name.decode(), *(next(own) if part is None else part for part in parts))
                return pipe.execute()
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            sent = 0
            for packet, count in _packets(command, rows):
                connection.send_packed_command([packet], check_health=not sent)
                sent += count
            return [connection.read_response(disable_decoding=True) for _ in range(sent)]
        except BaseException:
            connection.disconnect()  # answers that nobody read would be taken for the next command's
            raise
        finally:
            pool.release(connection)

    @staticmethod
    def _fields(view: FeatureView) -> list[bytes]:
        names = [f"{view.name}:{field.name}" for field in view.features]
        return [struct.pack("<I", mmh3.hash(name, signed=False)) for name in names]


def _server(node: tuple[str, str], settings: dict[str, Any], once: bool) -> Any:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    retry = {"retry": Retry(NoBackoff(), 0)} if once else {}
    return Redis(host=node[0], port=int(node[1] or 6379), **{**retry, **settings})


def _cluster(nodes: Sequence[tuple[str, str]], settings: dict[str, Any]) -> Any:
    from redis.cluster import ClusterNode, RedisCluster

    return RedisCluster(startup_nodes=[ClusterNode(host, int(port or 6379)) for host, port in nodes], **settings)


def _packets(command: Sequence[bytes | None], rows: Iterable[tuple[bytes, ...]]) -> Iterator[tuple[bytes, int]]:
    """Commands in Redis's protocol, an array of strings each, every one with its length before it; and their number."""
    parts = (b"$%d\r\n%b\r\n" if part is None else _string(part).replace(b"%", b"%%") for part in command)
    form = b"*%d\r\n%b" % (len(command), b"".join(parts))
    left = iter(rows)
    while some := list(itertools.islice(left, _PACKET)):
        yield b"".join([form % _with_lengths(row) for row in some]), len(some)


def _string(part: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(part), part)


def _with_lengths(row: tuple[bytes, ...]) -> tuple[int | bytes, ...]:
    return tuple(itertools.chain.from_iterable(zip(map(len, row), row, strict=True)))


def _timestamp(microseconds: int) -> bytes:
    """A serialized ``google.protobuf.Timestamp``."""
    seconds, rest = divmod(microseconds, 1_000_000)
    found = b"\x08" + varint(seconds % (1 << 64)) if seconds else b""
    return found + b"\x10" + varint(rest * 1000) if rest else found


def _microseconds(timestamp: bytes) -> int:
    """The reverse."""
    found, at = {8: 0, 16: 0}, 0
    while at < len(timestamp):
        tag, at = read_varint(timestamp, at)
        found[tag], at = read_varint(timestamp, at)
    seconds = found[8] - (1 << 64) if found[8] >= 1 << 63 else found[8]
    return seconds * 1_000_000 + found[16] // 1000


def _option(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
