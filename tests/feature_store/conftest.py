"""Small tables and features on disk, and a real Redis server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import told_users
from hypothesis import settings
from redis_process import RedisClusterProcesses, RedisProcess

from feature_store import build, folders
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.examples import write
from feature_store.schema import Field, Schema
from feature_store.table_folder import write_tables
from feature_store.tables import entities, finish_events

Event = tuple[str, str, int]  # user, item, time in microseconds

settings.register_profile("untimed", deadline=None)  # no test fails for being slow
settings.load_profile("untimed")

AGE = Field("age", "int64")


@pytest.fixture
def make_tables(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tables folder of the given events; every user's age is the length of the id."""

    def make(events: list[Event], name: str = "tables") -> Path:
        schema = Schema(user_attributes=(AGE,))
        users, items, times = map(list, zip(*events, strict=True))
        moment = pa.array(times, pa.timestamp("us", tz="UTC"))
        rows, duplicates = finish_events(
            pa.table(
                {
                    "user_id": users,
                    "item_id": items,
                    "event_time": moment,
                    "event_type": ["view"] * len(users),
                    "value": pa.array([1.0] * len(users), pa.float32()),
                    "created_time": moment,
                    "log_order": range(len(users)),
                }
            )
        )
        people = entities(schema, "users", pa.array(users))
        ages = pa.array([len(user) for user in people["user_id"].to_pylist()], pa.int64())
        tables = {
            "users": [people.set_column(1, "age", ages)],
            "items": [entities(schema, "items", pa.array(items))],
            "events": [rows],
        }
        write_tables(tmp_path / name, schema, tables, [], {"events": duplicates}, {})
        return tmp_path / name

    return make


@pytest.fixture
def make_features(tmp_path: Path) -> Callable[..., Path]:
    """Builds the offline views of a tables folder."""

    def make(tables: Path, history_length: int, name: str = "features") -> Path:
        with folders.new_folder(tmp_path / name) as folder:
            folders.write_manifest(folder, build.write_views(tables, None, folder, history_length))
        return tmp_path / name

    return make


@pytest.fixture
def examples(make_tables, make_features, tmp_path: Path) -> Path:
    """Those of three users with five events each, two of the training split's shards."""
    log = [(user, f"i{time}", time) for user in ("ann", "bob", "cy") for time in range(1, 6)]
    tables = make_tables(log)
    write(tables, make_features(tables, 3), tmp_path / "examples", ExampleConfig(shards=2), FeatureConfig(3))
    return tmp_path / "examples"


@pytest.fixture
def knowledge(examples: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes knowledge of two parts: [label time, part] of each example; bob's second part has no text."""

    def tell(row, part):
        return None if (row["user_id"], part) == ("bob", 1) else [float(row["label_time"]), float(part)]

    return lambda **described: told_users.write(tmp_path / "users", examples, tell, **described)


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a redis-server of our own, on a free port, gone after the tests."""
    server = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield server.address
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """host:port of both servers of a Redis cluster of our own, gone after the tests."""
    servers = RedisClusterProcesses(tmp_path_factory.mktemp("redis_cluster"))
    yield servers.addresses
    servers.stop()
