"""One call to a real server process and a real feature store; what comes back is worked out by numpy."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from redis_process import RedisProcess

from feature_store import definitions
from feature_store.config import OnlineStoreConfig
from feature_store.online import open_online_store
from feature_store.schema import Schema
from serving import errors
from serving.client import Client
from serving.online_features import DOWN, LATE, READ, OnlineFeatures
from serving.two_stage import TwoStage
from serving.version_indexes import VersionIndexes

SCHEMA = Schema()
HISTORIES = {"u": ["i3", "i4"], "v": ["i7"]}
LONG = 60.0  # seconds that nothing here takes


def write_store(folder: Path, online: OnlineStoreConfig) -> Path:
    """A Feast repository whose online store has the histories."""
    definitions.write_repository(folder, SCHEMA, online)
    if online.kind == "sqlite":
        definitions.apply(folder)
    times = pa.array([1_000_000] * len(HISTORIES), pa.timestamp("us", tz="UTC"))
    counts = pa.array([len(history) for history in HISTORIES.values()])
    columns = [pa.array(HISTORIES), times, times, pa.array(list(HISTORIES.values())), counts]
    with open_online_store(folder, SCHEMA) as store:
        store.write("user_history", pa.record_batch(columns, schema=SCHEMA.view("user_history").arrow()))
    return folder


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sqlite_repository(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("features") / "feature_repo", OnlineStoreConfig())


@pytest.fixture
def redis_repository(redis: RedisProcess, tmp_path: Path) -> Path:
    return write_store(tmp_path / "feature_repo", OnlineStoreConfig("redis", redis.address))


@pytest.fixture(scope="module")
def roots(towers: Path, tmp_path_factory) -> dict[str, Path]:
    """Base paths of the models "newest" and "all", each with version 1."""
    roots = {name: tmp_path_factory.mktemp(name) for name in ("newest", "all")}
    for root in roots.values():
        shutil.copytree(towers / "1", root / "1")
    return roots


@pytest.fixture(scope="module")
def models(roots: dict[str, Path], start_once):
    """A server process; "all" keeps every version, "newest" unloads the older ones."""
    config = roots["all"].parent / "models.config"
    policies = {"newest": "", "all": "model_version_policy { all {} }"}
    entries = [
        f'config {{ name: "{name}" base_path: "{root}" model_platform: "tensorflow" {policies[name]} }}'
        for name, root in roots.items()
    ]
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return start_once(f"--model_config_file={config}", "--file_system_poll_wait_seconds=0.1")


@pytest.fixture
def client(models) -> Iterator[Client]:
    with Client(models.grpc, "all", version=1, timeout=LONG) as client:
        yield client


def features_of(repository: Path, deadline: float = LONG) -> OnlineFeatures:
    return OnlineFeatures(open_online_store(repository, SCHEMA, deadline), deadline)


def expected(vectors: np.ndarray, history: Sequence[str], n: int, exclude: Sequence[str] = ()) -> list[str]:
    numbers = [int(item[1:]) for item in history]
    scores = vectors @ (vectors[numbers].sum(axis=0) + 0.1)
    scores[[int(item[1:]) for item in (*history, *exclude)]] = -np.inf
    return [f"i{number}" for number in np.argsort(-scores)[:n]]


def names(ranked) -> list[str]:
    return [item for item, _ in ranked.items]


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("where", ["in the server", "in the client"])
def test_a_user_known_by_id_alone_is_recommended_the_best_items(
    kind: str, where: str, client: Client, roots, tower_vectors, request
) -> None:
    repository = request.getfixturevalue(f"{kind}_repository")
    indexes = VersionIndexes(roots["all"]) if where == "in the client" else None
    with features_of(repository) as features:
        two_stage = TwoStage(client, features, indexes)
        for user, history in (*HISTORIES.items(), ("nobody", [])):
            ranked = two_stage.retrieve_and_rank(user, 10, 4)
            assert names(ranked) == expected(tower_vectors(1), history, 4)
            assert (ranked.version, ranked.features, ranked.candidates) == (1, READ, 10)
        ranked = two_stage.retrieve_and_rank("u", 30, 30, exclude=["i5"])
        assert names(ranked) == expected(tower_vectors(1), ["i3", "i4"], 27, ["i5"])
        vectors = tower_vectors(1)
        best = vectors[int(ranked.items[0][0][1:])]
        assert ranked.items[0][1] == pytest.approx(best @ (vectors[3] + vectors[4] + 0.1), rel=1e-4)


def test_a_redis_that_hangs_or_is_gone_costs_the_history_and_nothing_else(
    redis: RedisProcess, redis_repository: Path, client: Client, tower_vectors, wait_until
) -> None:
    anyone = expected(tower_vectors(1), [], 3)
    with features_of(redis_repository, deadline=0.05) as features:
        two_stage = TwoStage(client, features)

        def ask() -> str:
            ranked = two_stage.retrieve_and_rank("u", 10, 3)
            assert names(ranked) == (expected(tower_vectors(1), ["i3", "i4"], 3) if ranked.features == READ else anyone)
            return ranked.features

        redis.hold()
        assert ask() == LATE
        redis.go_on()
        wait_until(lambda: ask() == READ)
        redis.stop()
        wait_until(lambda: ask() == DOWN)  # on a busy machine even a refusal can be late
        redis.start()
        write_store(redis_repository, OnlineStoreConfig("redis", redis.address))
        wait_until(lambda: ask() == READ)
    assert {outcome for _, outcome in features.reads._counts} == {READ, LATE, DOWN}


def test_a_sqlite_that_is_locked_costs_the_history(sqlite_repository: Path, client: Client, tower_vectors) -> None:
    other = sqlite3.connect(sqlite_repository.parent / "online.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with features_of(sqlite_repository, deadline=0.05) as features:
        ranked = TwoStage(client, features).retrieve_and_rank("u", 10, 3)
        assert (names(ranked), ranked.features) == (expected(tower_vectors(1), [], 3), LATE)
    other.close()


class Rolling(VersionIndexes):
    """Does something else between the two calls, once."""

    def __init__(self, base_path: Path, between):
        super().__init__(base_path)
        self._between = [between]

    def search(self, *arguments):
        if self._between:
            self._between.pop()()
        return super().search(*arguments)


def test_a_version_that_comes_between_the_two_calls_is_not_mixed_in(
    models, roots, towers: Path, sqlite_repository: Path, tower_vectors, wait_until
) -> None:
    with Client(models.grpc, "all", timeout=LONG) as client, features_of(sqlite_repository) as features:

        def roll() -> None:
            shutil.copytree(towers / "2", roots["all"] / ".2").rename(roots["all"] / "2")
            wait_until(lambda: client.status()[0] == available(2))

        two_stage = TwoStage(client, features, Rolling(roots["all"], roll))
        first, second = (two_stage.retrieve_and_rank("u", 10, 3) for _ in range(2))
        assert (first.version, names(first)) == (1, expected(tower_vectors(1), ["i3", "i4"], 3))
        assert (second.version, names(second)) == (2, expected(tower_vectors(2), ["i3", "i4"], 3))
        assert two_stage.restarts.lines() == []


def test_a_version_that_ends_between_the_two_calls_is_begun_again_on_the_next(
    models, roots, towers: Path, sqlite_repository: Path, tower_vectors, wait_until
) -> None:
    with Client(models.grpc, "newest", timeout=LONG) as client, features_of(sqlite_repository) as features:

        def roll() -> None:
            shutil.copytree(towers / "2", roots["newest"] / ".2").rename(roots["newest"] / "2")
            wait_until(lambda: [entry["state"] for entry in client.status()] == ["AVAILABLE", "END"])

        two_stage = TwoStage(client, features, Rolling(roots["newest"], roll))
        ranked = two_stage.retrieve_and_rank("u", 10, 3)
        assert (ranked.version, names(ranked)) == (2, expected(tower_vectors(2), ["i3", "i4"], 3))
        assert two_stage.restarts.lines()[1].endswith(" 1")


def test_a_server_that_does_not_answer_ends_with_the_call_s_time(
    models, client: Client, sqlite_repository: Path
) -> None:
    client.status()  # it is connected
    models.process.send_signal(signal.SIGSTOP)
    try:
        with features_of(sqlite_repository) as features, pytest.raises(errors.DeadlineExceeded):
            TwoStage(client, features).retrieve_and_rank("u", 10, 3, timeout=0.3)
    finally:
        models.process.send_signal(signal.SIGCONT)


def test_refuses_what_cannot_be_answered(models, client: Client, sqlite_repository: Path) -> None:
    with features_of(sqlite_repository) as features, Client(models.rest, "all", rest=True) as rest:
        with pytest.raises(ValueError, match=r"n must lie in 1..k \(3\), got 4"):
            TwoStage(client, features).retrieve_and_rank("u", 3, 4)
        with pytest.raises(ValueError, match="client must ask over gRPC"):
            TwoStage(rest, features)


def test_a_client_needs_no_tensorflow(repository: Path) -> None:
    code = "import sys, serving.two_stage; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"]


def available(version: int) -> dict:
    return {"version": version, "state": "AVAILABLE", "code": "OK", "message": ""}
