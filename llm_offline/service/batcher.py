"""Requests that arrive one by one, put through a model together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


class Overloaded(Exception):
    """As many requests wait as may."""


class TooLate(Exception):
    """The request's time was over before the model came to it."""


@dataclass
class _Waiting:
    item: Any
    deadline: float
    since: float
    future: Future = field(default_factory=Future)


class Batcher:
    """One thread that computes batches: what waits, up to ``max_batch``, once the first has waited ``max_wait`` seconds
    or the batch is full. What is past its deadline by then is not computed.

    Args:
        compute: a batch's items to as many results; an error of its is that of each item.
        observe: told of each batch's size and of the seconds each item waited.
    """

    def __init__(
        self, compute: Callable[[list[Any]], Sequence[Any]], max_batch: int, max_wait: float, max_queue: int,
        observe: Callable[[int, list[float]], None] = lambda size, waits: None,
    ) -> None:  # fmt: skip
        self._compute, self._observe = compute, observe
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, item: Any, deadline: float) -> Future:
        """The item's result to come. ``deadline`` is by time.monotonic.

        Raises:
            Overloaded: the queue is full, or the batcher is closed.
        """
        entry = _Waiting(item, deadline, time.monotonic())
        with self._changed:
            if self._closed or len(self._waiting) >= self._max_queue:
                raise Overloaded(f"{len(self._waiting)} requests wait" if not self._closed else "shutting down")
            self._waiting.append(entry)
            self._changed.notify()
        return entry.future

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Takes no further request, and computes those that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            now = time.monotonic()
            batch = [entry for entry in batch if entry.future.set_running_or_notify_cancel()]
            late = [entry for entry in batch if entry.deadline <= now]
            for entry in late:
                entry.future.set_exception(TooLate("the request's time was over before its turn came"))
            batch = [entry for entry in batch if entry.deadline > now]
            if not batch:
                continue
            self._observe(len(batch), [now - entry.since for entry in batch])
            try:
                results = self._compute([entry.item for entry in batch])
                for entry, result in zip(batch, results, strict=True):
                    entry.future.set_result(result)
            except Exception as error:
                for entry in batch:
                    if not entry.future.done():
                        entry.future.set_exception(error)

    def _next(self) -> list[_Waiting]:
        """The next batch; empty when the batcher is closed and nothing waits."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return []
            until = self._waiting[0].since + self._max_wait
            while len(self._waiting) < self._max_batch and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
