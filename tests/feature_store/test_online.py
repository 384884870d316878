"""The same contract against SQLite and a real Redis server; Feast reads what is written, and the reverse."""

import socket
import sqlite3
import uuid
from collections import Counter
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from redis import Connection, Redis
from redis.exceptions import ResponseError
from redis_process import RedisProcess

from feature_store import build, definitions, folders, online
from feature_store.config import OnlineStoreConfig
from feature_store.errors import DataError, StoreTimeout, StoreUnavailable
from feature_store.online_redis import RedisOnlineStore, _microseconds, _packets, _timestamp
from feature_store.schema import Field, Schema

ODD = "line\nbreak é '"
EVENTS = [("a", "x", 1_000_000), ("a", ODD, 3_000_000), ("b", "z", 4_000_000)]
SCHEMA = Schema(user_attributes=(Field("age", "int64"), Field("score", "float32"), Field("city")))


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def backend(request):
    if request.param == "sqlite":
        return OnlineStoreConfig()
    if request.param == "cluster":  # the second node alone is named: the first is found through it
        return OnlineStoreConfig("redis", request.getfixturevalue("redis_cluster")[1], cluster=True)
    return OnlineStoreConfig("redis", request.getfixturevalue("redis_address"))


@pytest.fixture
def repository(backend, tmp_path):
    """An applied repository, in a project of its own."""
    folder = tmp_path / "features" / "feature_repo"
    definitions.write_repository(folder, SCHEMA, backend, project=f"test_{uuid.uuid4().hex}")
    definitions.apply(folder)
    return folder


@pytest.fixture
def store(repository):
    with online.open_online_store(repository, SCHEMA) as opened:
        yield opened


def profiles(*rows):
    """(user, seconds, age, score, city) rows of user_profile."""
    users, seconds, ages, scores, cities = zip(*rows, strict=True)
    times = pa.array([second * 1_000_000 for second in seconds], pa.timestamp("us", tz="UTC"))
    columns = [users, times, times, ages, pa.array(scores, pa.float32()), cities]
    return pa.record_batch(
        [pa.array(column) for column in columns], schema=SCHEMA.view("user_profile").arrow()
    )


def test_rows_read_back_in_the_order_asked_and_unknown_keys_as_defaults(store):
    store.write("user_profile", profiles(("a", 5, -3, 0.5, "Rome"), (ODD, 5, 2, 1.5, ODD)))
    assert store.read("user_profile", [ODD, "nobody", "a", "a"]) == [
        {"age": 2, "score": 1.5, "city": ODD},
        {"age": 0, "score": 0.0, "city": ""},
        {"age": -3, "score": 0.5, "city": "Rome"},
        {"age": -3, "score": 0.5, "city": "Rome"},
    ]
    assert store.read("user_profile", []) == []


def test_a_read_tells_from_when_on_each_key_s_features_are_true(store):
    store.write("user_profile", profiles(("a", 1_700_000_005, 1, 0.5, "Rome"), ("b", 7, 2, 0.5, "Oslo")))
    rows, times = store.read_with_times("user_profile", ["b", "nobody", "a"])
    assert [row["age"] for row in rows] == [2, 0, 1]
    assert times == [7_000_000, None, 1_700_000_005_000_000]


def test_an_older_row_never_replaces_a_newer_one_and_an_equal_one_does(store):
    for second, age, expected in ((5, 1, 1), (4, 2, 1), (5, 3, 3), (6, 4, 4)):
        store.write("user_profile", profiles(("a", second, age, 0.0, "")))
        assert store.read("user_profile", ["a"])[0]["age"] == expected


def test_many_keys_at_once(store):
    keys = [str(n) for n in range(12_000)]
    store.write("user_profile", profiles(*((key, 1, int(key), 0.0, "") for key in keys)))
    assert [row["age"] for row in store.read("user_profile", keys[::-1])] == list(range(12_000))[::-1]


def test_views_do_not_mix(store):
    store.write("user_profile", profiles(("a", 5, 1, 0.5, "Rome")))
    assert store.read("user_history", ["a"]) == [{"history": [], "event_count": 0}]


def test_feast_reads_what_is_written(repository, store):
    store.write("user_profile", profiles(("a", 5, -3, 0.5, "Rome")))
    feast = definitions.open_feast(repository)
    found = feast.get_online_features(
        features=["user_profile:age", "user_profile:score", "user_profile:city"],
        entity_rows=[{"user_id": "a"}, {"user_id": "nobody"}],
    ).to_dict()
    assert found == {
        "user_id": ["a", "nobody"],
        "age": [-3, None],
        "score": [0.5, None],
        "city": ["Rome", None],
    }


def test_what_feast_writes_is_read(repository, store):
    now = datetime(2020, 1, 1, tzinfo=UTC)
    frame = pd.DataFrame(
        {
            "user_id": ["a"],
            "event_time": [now],
            "created_time": [now],
            "history": [["x", "y"]],
            "event_count": [2],
        }
    )
    definitions.open_feast(repository).write_to_online_store("user_history", frame)
    assert store.read("user_history", ["a"]) == [{"history": ["x", "y"], "event_count": 2}]


def test_the_newest_row_of_every_key_is_served_even_from_a_renamed_folder(backend, make_tables, tmp_path):
    tables = make_tables(EVENTS)
    with folders.new_folder(tmp_path / "features") as folder:
        manifest = build.write_views(tables, None, folder, 50)
        schema = Schema.from_json(manifest["schema"], 50)
        repository = folder / "feature_repo"
        definitions.write_repository(repository, schema, backend, project=f"test_{uuid.uuid4().hex}")
        assert definitions.apply(repository) == ["user_profile", "user_history", "item_profile"]
        with online.open_online_store(repository, schema) as store:
            for view in definitions.online_views(schema):
                for rows in build.latest(folder / f"{view.name}.parquet", view):
                    store.write(view.name, rows)
        folders.write_manifest(folder, manifest)
    repository = tmp_path / "features" / "feature_repo"
    with online.open_online_store(repository, schema) as store:
        assert store.read("user_history", ["a"]) == [{"history": ["x", ODD], "event_count": 2}]
    found = definitions.open_feast(repository).get_online_features(
        features=["user_history:history"], entity_rows=[{"user_id": "a"}]
    )
    assert found.to_dict()["history"] == [["x", ODD]]


def test_a_cluster_s_keys_lie_on_all_of_its_servers(redis_cluster):
    servers = [Redis(*address.split(":")) for address in redis_cluster]
    before = [server.dbsize() for server in servers]
    with RedisOnlineStore(SCHEMA, f"test_{uuid.uuid4().hex}", ",".join(redis_cluster), cluster=True) as store:
        store.write("user_profile", profiles(*((str(n), 1, n, 0.0, "") for n in range(100))))
        assert [row["age"] for row in store.read("user_profile", [str(n) for n in range(100)])] == list(range(100))
    added = [server.dbsize() - known for server, known in zip(servers, before, strict=True)]
    assert sum(added) == 100 and min(added) > 0


def test_an_interrupted_exchange_leaves_no_answers_for_the_next(redis_address):
    """Some answers were not read: the connection is given up, so the next command does not take them for its own."""
    with RedisOnlineStore(SCHEMA, f"test_{uuid.uuid4().hex}", redis_address) as store:
        text, number = (f"{name}_{uuid.uuid4().hex}".encode() for name in ("text", "number"))
        store._send((b"SET", None, b"no number"), [(text,)])
        with pytest.raises(ResponseError):
            store._send((b"INCR", None), [(text,), (number,)])
        assert store._send((b"ECHO", None), [(b"mine",)]) == [b"mine"]


@given(
    st.lists(st.one_of(st.none(), st.binary()), max_size=4),
    st.lists(st.lists(st.binary(), min_size=4, max_size=4), max_size=3),
)
def test_packets_are_the_client_s_own_commands(parts, rows):
    """Byte for byte, whatever is in them: a field's hash may hold a percent sign."""
    own = [tuple(row[: parts.count(None)]) for row in rows]
    commands = [
        (b"HSET", *(next(values) if part is None else part for part in parts))
        for values in map(iter, own)
    ]
    sent = b"".join(packet for packet, _ in _packets((b"HSET", *parts), own))
    assert sent == b"".join(b"".join(Connection().pack_command(*command)) for command in commands)


@pytest.mark.parametrize("time", [0, 1, 999_999, 1_000_000, 1_700_000_000_123_456, -1, -1_500_000])
def test_times_are_those_of_protobuf(time):
    stamp = Timestamp()
    stamp.FromMicroseconds(time)
    assert _timestamp(time) == stamp.SerializeToString()
    assert _microseconds(_timestamp(time)) == time


def test_many_keys_are_one_round_trip(redis_address):
    with RedisOnlineStore(SCHEMA, "test", redis_address) as store:

        def reads() -> int:
            return store._client.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0)

        sent = Counter()
        connection = store._client.connection_pool.get_connection()
        store._client.connection_pool.release(connection)
        original = connection.send_packed_command
        connection.send_packed_command = lambda *a, **k: (sent.update(["sent"]), original(*a, **k))
        before = reads()
        sent.clear()
        store.read("user_profile", [str(n) for n in range(1000)])
        assert sent["sent"] == 1
        assert reads() - before == 1000


def test_a_view_without_features_reads_as_empty(backend, tmp_path):
    definitions.write_repository(tmp_path / "repo", Schema(), backend, project="test")
    (tmp_path / "online.db").touch()
    with online.open_online_store(tmp_path / "repo", Schema()) as store:
        assert store.read("user_profile", ["a", "b"]) == [{}, {}]


def test_a_store_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="not a Feast repository"):
        online.open_online_store(tmp_path, SCHEMA)
    definitions.write_repository(tmp_path / "repo", SCHEMA, OnlineStoreConfig())
    with pytest.raises(DataError, match=r"online.db: there is no online store; apply"):
        online.open_online_store(tmp_path / "repo", SCHEMA)


@pytest.mark.parametrize("backend", ["sqlite", "redis"], indirect=True)
def test_a_store_that_is_locked_or_does_not_answer_is_too_late(repository, backend, request):
    if backend.kind == "sqlite":
        other = sqlite3.connect(repository.parent / "online.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        free = other.close
    else:
        server = RedisProcess(request.getfixturevalue("tmp_path"))
        path = repository / "feature_store.yaml"
        path.write_text(path.read_text().replace(backend.connection, server.address))
        server.hold()
        free = server.stop
    with online.open_online_store(repository, SCHEMA, timeout=0.05) as store, pytest.raises(StoreTimeout):
        store.read("user_profile", ["a"])
    free()


def test_a_store_that_is_down_says_so(repository, backend):
    if backend.kind == "sqlite":
        (repository.parent / "online.db").write_bytes(b"no database" * 1000)
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"127.0.0.1:{free.getsockname()[1]}"
        path = repository / "feature_store.yaml"
        path.write_text(path.read_text().replace(backend.connection, nobody))
    with online.open_online_store(repository, SCHEMA, timeout=1) as store:
        assert store.defaults("user_history") == {"history": [], "event_count": 0}
        with pytest.raises(StoreUnavailable) as told:
            store.read("user_profile", ["a"])
    assert type(told.value) is StoreUnavailable
