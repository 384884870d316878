from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from feature_store.errors import DataError, StoreTimeout, StoreUnavailable
from serving.online_features import DOWN, LATE, READ, OnlineFeatures, Rows

LONG = 60.0  # seconds that no read here takes


class Store:
    """A store that does what it is told; the real ones are in the tests of `feature_store` and of `two_stage`."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.answer.set()
        self.error: Exception | None = None
        self.closed = False

    def defaults(self, view: str) -> dict[str, list[str]]:
        if view != "user_history":
            raise DataError("a feature view is one of ['user_history']", value=view)
        return {"history": []}

    def read_with_times(self, view: str, keys: Sequence[str]) -> tuple[list[dict[str, list[str]]], list[int | None]]:
        assert self.answer.wait(LONG)
        if self.error is not None:
            raise self.error
        minute_ago = int((time.time() - 60) * 1e6)
        times = [None if key == "unknown" else minute_ago for key in keys]
        return [{"history": [key]} for key in keys], times

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.answer.set()


def test_reads_in_time(store: Store) -> None:
    with OnlineFeatures(store, LONG) as features:
        assert features.read("user_history", ["a", "b"]) == Rows([{"history": ["a"]}, {"history": ["b"]}], READ)
    assert store.closed


def test_gives_defaults_when_the_store_is_late_and_goes_on_when_it_is_back(store: Store) -> None:
    features = OnlineFeatures(store, LONG, threads=1)
    store.answer.clear()
    assert features.read("user_history", ["a"], 0.001) == Rows([{"history": []}], LATE)
    assert features.read("user_history", ["a"], 0.001).outcome == LATE  # the one thread still waits for the store
    store.answer.set()
    assert features.read("user_history", ["a"]) == Rows([{"history": ["a"]}], READ)
    features.close()
    lines = features.page().splitlines()
    assert ':antiphon:serving:online_feature_reads{view="user_history",outcome="late"} 2' in lines
    assert ':antiphon:serving:online_feature_reads{view="user_history",outcome="read"} 1' in lines
    assert ':antiphon:serving:online_feature_latency_count{view="user_history"} 3' in lines


def test_hit_rate_and_freshness_are_counted_by_key(store: Store) -> None:
    with OnlineFeatures(store, LONG) as features:
        features.read("user_history", ["a", "unknown", "b"])
        features.read("user_history", ["a"])
        lines = features.page().splitlines()
    assert ':antiphon:serving:online_feature_keys{view="user_history",found="yes"} 3' in lines
    assert ':antiphon:serving:online_feature_keys{view="user_history",found="no"} 1' in lines
    assert ':antiphon:serving:online_feature_age_seconds_bucket{view="user_history",le="16"} 0' in lines
    assert ':antiphon:serving:online_feature_age_seconds_bucket{view="user_history",le="65536"} 3' in lines


@pytest.mark.parametrize(("error", "outcome"), [(StoreTimeout("slow"), LATE), (StoreUnavailable("gone"), DOWN)])
def test_gives_defaults_when_the_store_says_that_it_cannot(store: Store, error: Exception, outcome: str) -> None:
    store.error = error
    with OnlineFeatures(store, LONG) as features:
        first, second = features.read("user_history", ["a", "b"]).rows
        assert first == {"history": []}
        assert first is not second
        assert features.read("user_history", ["a"]).outcome == outcome


def test_what_is_wrong_with_the_question_is_no_default(store: Store) -> None:
    with OnlineFeatures(store, LONG) as features, pytest.raises(DataError, match="a feature view is one of"):
        features.read("users", ["a"])


@pytest.mark.parametrize(("deadline", "threads"), [(0, 1), (1, 0)])
def test_refuses_no_time_and_no_thread(store: Store, deadline: float, threads: int) -> None:
    with pytest.raises(ValueError, match="deadline must be positive and threads at least 1, got"):
        OnlineFeatures(store, deadline, threads)


def test_a_folder_that_is_no_features_is_named(tmp_path: Path) -> None:
    from serving.online_features import open_features

    with pytest.raises(DataError, match="MANIFEST.json"):
        open_features(tmp_path)
