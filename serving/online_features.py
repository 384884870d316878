"""Online features within a deadline: what the store says of a key, or the schema's defaults where it does not in time.

A recommendation without the user's history is worth more than none, so a store that is slow or down never fails a
request. What happened is counted and told to the caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from feature_store.build import read_features
from feature_store.errors import StoreTimeout, StoreUnavailable
from feature_store.online import open_online_store
from serving.prometheus import Counter, Histogram, exponential, page

READ, LATE, DOWN = "read", "late", "down"
Read = tuple[list[dict[str, Any]], list[int | None]]
DEADLINE = 0.05


@dataclass(frozen=True)
class Rows:
    """A row of features for each key.

    Attributes:
        outcome: `READ`; or every row is the defaults, because the store was too `LATE` or is `DOWN`.
    """

    rows: list[dict[str, Any]]
    outcome: str


class Store(Protocol):
    """What is read of: an `OnlineStore`, or a `GroupStore`, which is one of one version of the groups."""

    def read_with_times(self, view: str, keys: Sequence[str]) -> Read: ...

    def defaults(self, view: str) -> dict[str, Any]: ...

    def close(self) -> None: ...


class OnlineFeatures:
    """Reads `store`, which it closes at its own end; threads may share it.

    Args:
        store: opened with a timeout of its own, so that a read that nobody waits for any more gives its thread back.
        deadline: seconds a read may take.
        threads: reads at once; one more waits within its own deadline.
    """

    def __init__(self, store: Store, deadline: float = DEADLINE, threads: int = 16):
        if deadline <= 0 or threads < 1:
            raise ValueError(f"deadline must be positive and threads at least 1, got {deadline:g} and {threads}")
        self._store, self._deadline = store, deadline
        self._free = threading.BoundedSemaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="online features")
        self.reads = Counter("/antiphon/serving/online_feature_reads", ["view", "outcome"])
        self.latency = Histogram("/antiphon/serving/online_feature_latency", ["view"], exponential(10, 1.8, 33))
        self.keys = Counter("/antiphon/serving/online_feature_keys", ["view", "found"])
        self.age = Histogram("/antiphon/serving/online_feature_age_seconds", ["view"], exponential(1, 4, 14))

    def __enter__(self) -> OnlineFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for reads under way."""
        self._pool.shutdown()
        self._store.close()

    def read(self, view: str, keys: Sequence[str], deadline: float | None = None) -> Rows:
        """The features of each key, in the keys' order, by then or never.

        Args:
            deadline: seconds, in place of its own where it is sooner.

        Raises:
            DataError: there is no such view.
        """
        defaults = self._store.defaults(view)
        seconds = self._deadline if deadline is None else min(deadline, self._deadline)
        start = time.monotonic()
        try:
            rows, times = self._within(view, keys, start + seconds)
            outcome = READ
            self._tell(view, times)
        except (TimeoutError, StoreTimeout):
            outcome = LATE
        except StoreUnavailable:
            outcome = DOWN
        self.reads.add((view, outcome))
        self.latency.observe((view,), (time.monotonic() - start) * 1e6)
        return Rows(rows if outcome == READ else [dict(defaults) for _ in keys], outcome)

    def page(self) -> str:
        """In Prometheus's text format: reads by view and outcome, their latency in microseconds; keys by whether the
        store had them (the hit rate); and how long ago what it had became true, in seconds (the freshness)."""
        return page([self.reads, self.latency, self.keys, self.age])

    def _tell(self, view: str, times: Sequence[int | None]) -> None:
        now, known = time.time(), [found for found in times if found is not None]
        for answer, count in (("yes", len(known)), ("no", len(times) - len(known))):
            if count:
                self.keys.add((view, answer), count)
        self.age.observe((view,), *(max(now - found / 1e6, 0.0) for found in known))

    def _within(self, view: str, keys: Sequence[str], end: float) -> Read:
        if not self._free.acquire(timeout=max(end - time.monotonic(), 0)):
            raise TimeoutError
        read: Future[Read] = self._pool.submit(self._store.read_with_times, view, keys)
        read.add_done_callback(lambda _: self._free.release())
        return read.result(max(end - time.monotonic(), 0))


def open_features(features: Path, deadline: float = DEADLINE) -> OnlineFeatures:
    """The online features of a run's features folder.

    Raises:
        DataError: the folder is not whole, or its online store is not there.
    """
    _, schema = read_features(features)
    return OnlineFeatures(open_online_store(features / "feature_repo", schema, deadline), deadline)
