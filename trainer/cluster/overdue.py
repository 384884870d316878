"""Which workers hang: a call that takes far longer than calls did."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable

TIMES = 10  # the usual seconds of a call, after which it is overdue
RECENT = 32  # calls from which the usual is taken


class Overdue:
    """Keeps the time of the calls under way. Its methods may be called from any thread.

    A call is overdue after ``TIMES`` the median of the recent ones, and never before ``floor`` seconds; before any
    has ended, after ``TIMES`` the floor, because the first calls also build their graphs.

    Args:
        floor: seconds. clock: gives seconds.
    """

    def __init__(self, floor: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._floor, self._clock = floor, clock
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._begun: dict[int, float] = {}
        self._named: set[int] = set()
        self._waiting = 0
        self._moved = clock()

    @property
    def limit(self) -> float:
        """Seconds after which a call is overdue."""
        usual = statistics.median(self._recent) if self._recent else self._floor
        return max(self._floor, TIMES * usual)

    def scheduled(self) -> None:
        """A call waits for a worker."""
        with self._lock:
            if not self._waiting:
                self._moved = self._clock()
            self._waiting += 1

    def began(self, worker: int) -> None:
        """``worker`` began a call."""
        with self._lock:
            self._begun[worker] = self._clock()
            self._named.discard(worker)

    def ended(self, worker: int, well: bool) -> None:
        """``worker`` ended its call, ``well`` or with an error after which it will be begun again."""
        with self._lock:
            now = self._clock()
            begun = self._begun.pop(worker)
            if well:
                self._recent.append(now - begun)
                self._waiting -= 1
                self._moved = now

    def workers(self) -> list[int]:
        """Workers whose call is overdue; each is named once a call."""
        with self._lock:
            now = self._clock()
            found = [w for w, begun in self._begun.items() if now - begun > self.limit and w not in self._named]
            self._named.update(found)
            return found

    @property
    def all(self) -> bool:
        """No call has ended for so long that a hung worker, even after it was replaced, cannot be the reason."""
        with self._lock:
            return self._waiting > 0 and self._clock() - self._moved > 2.5 * self.limit
