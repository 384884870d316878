"""Puts tasks together into batches and hands them to shared threads, as TF's `SharedBatchScheduler` does.

A queue holds batches: closed ones, and an open one that takes tasks until it is full or its first task has waited
`batch_timeout_micros`. Threads take the next batch of the queues in turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc

from serving.batch_parameters import BatchParameters
from serving.status import StatusError, invalid_argument

log = logging.getLogger(__name__)


class Task(Protocol):
    size: int  # rows


Process = Callable[[list[Task]], None]


class _Batch:
    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.size = 0
        self.began = 0.0  # when its first task came

    def add(self, task: Task) -> None:
        if not self.tasks:
            self.began = time.monotonic()
        self.tasks.append(task)
        self.size += task.size


class BatchScheduler:
    """`threads` threads that process the batches of every queue, until `stop`."""

    def __init__(self, threads: int, name: str):
        self.name = name
        self._changed = threading.Condition()
        self._queues: deque[BatchQueue] = deque()
        self._stopped = False
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True).start()

    def queue(self, parameters: BatchParameters, process: Process) -> BatchQueue:
        """A queue whose batches go to `process`, on one of the threads; it must not raise."""
        queue = BatchQueue(parameters, process, self._changed)
        with self._changed:
            self._queues.append(queue)
        return queue

    def remove(self, queue: BatchQueue) -> None:
        """Forgets a queue that no task will come to any more."""
        with self._changed:
            self._queues.remove(queue)

    def stop(self) -> None:
        """The threads end once they have processed what is queued."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (found := self._next()) is not None:
            process, batch = found
            try:
                process(batch.tasks)
            except Exception:  # a thread that ends would leave every later request waiting
                log.exception("a batch of %d rows", batch.size)

    def _next(self) -> tuple[Process, _Batch] | None:
        with self._changed:
            while True:
                for _ in range(len(self._queues)):
                    queue = self._queues[0]
                    self._queues.rotate(-1)
                    if (batch := queue.take(flush=self._stopped)) is not None:
                        return queue.process, batch
                if self._stopped:
                    return None
                waits = [wait for queue in self._queues if (wait := queue.wait()) is not None]
                self._changed.wait(min(waits, default=None))


class BatchQueue:
    """The tasks of one kind, which may share a batch. Its methods but `schedule` are the scheduler's."""

    def __init__(self, parameters: BatchParameters, process: Process, changed: threading.Condition):
        self.parameters = parameters
        self.process = process
        self._changed = changed
        self._batches: deque[_Batch] = deque([_Batch()])  # the last one is open

    def schedule(self, task: Task, pieces: Callable[[Sequence[int]], Sequence[Task]] | None = None) -> None:
        """Queues a task.

        Args:
            task: at least one row.
            pieces: cuts the task into tasks of the sizes given; used where large requests are split.

        Raises:
            StatusError: INVALID_ARGUMENT for a task above `max_batch_size`, UNAVAILABLE where the queue is full.
        """
        limits = self.parameters
        if task.size > limits.max_batch_size:
            raise invalid_argument(
                f"Task size {task.size} is larger than maximum input batch size {limits.max_batch_size}"
            )
        with self._changed:
            if limits.enable_large_batch_splitting and pieces is not None:
                self._check_capacity(task.size)
                room = limits.execution_batch_size - self._batches[-1].size
                sizes = _sizes(task.size, room, limits.execution_batch_size)
                tasks = [task] if len(sizes) == 1 else pieces(sizes)
            else:
                self._check_room(task.size)
                tasks = [task]
            for part in tasks:
                if self._batches[-1].size + part.size > limits.execution_batch_size:
                    self._batches.append(_Batch())
                self._batches[-1].add(part)
            self._changed.notify_all()

    def _check_room(self, size: int) -> None:
        count, limit = len(self._batches), self.parameters.max_enqueued_batches
        if self._batches[-1].size + size > self.parameters.execution_batch_size and count >= limit:
            raise StatusError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{count} batches enqueued and max_enqueued_batches is {limit}",
            )

    def _check_capacity(self, size: int) -> None:
        count, limit = len(self._batches), self.parameters.max_enqueued_batches
        largest, open_size = self.parameters.execution_batch_size, self._batches[-1].size
        capacity = (limit - count) * largest + largest - open_size
        if size > capacity:
            raise StatusError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; task size is "
                f"{size} but scheduling capacity is only {capacity} (num_enqueued_batches={count}, "
                f"max_enqueued_batches={limit}, open_batch_size={open_size}, max_execution_batch_size={largest})",
            )

    def take(self, flush: bool = False) -> _Batch | None:
        """The next batch that is due; with `flush` also one that still waits for tasks."""
        first = self._batches[0]
        if len(self._batches) > 1:
            return self._batches.popleft()
        full = first.size >= self.parameters.execution_batch_size
        if not first.tasks or not (flush or full or self._left(first) <= 0):
            return None
        self._batches.append(_Batch())
        return self._batches.popleft()

    def wait(self) -> float | None:
        """Seconds until the open batch is due; None where there is none."""
        open_batch = self._batches[-1]
        return max(self._left(open_batch), 0.0) if open_batch.tasks else None

    def _left(self, batch: _Batch) -> float:
        return batch.began + self.parameters.batch_timeout_micros / 1e6 - time.monotonic()


def _sizes(size: int, room: int, largest: int) -> list[int]:
    """`size` in parts: one that fills the open batch's `room`, then whole batches, then the rest."""
    sizes = [min(room, size)] if room else []
    left = size - sum(sizes)
    while left:
        sizes.append(min(left, largest))
        left -= sizes[-1]
    return sizes
