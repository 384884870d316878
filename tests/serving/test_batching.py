"""What is due never depends on the clock here: a wait is either none or an hour."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from serving.batch_parameters import BatchParameters
from serving.batching import BatchScheduler
from serving.status import StatusError

HOUR = 3_600_000_000


@dataclass
class Rows:
    name: str
    size: int


class Recorder:
    """Notes each batch as its tasks' names; holds the thread until `go`, so that others queue behind."""

    def __init__(self) -> None:
        self.started: queue.Queue[list[str]] = queue.Queue()
        self.allowed: queue.Queue[None] = queue.Queue()

    def __call__(self, tasks: list[Rows]) -> None:
        self.started.put([task.name for task in tasks])
        self.allowed.get(timeout=60)

    def go(self, batches: int = 1) -> None:
        for _ in range(batches):
            self.allowed.put(None)

    def next(self) -> list[str]:
        return self.started.get(timeout=60)


Schedulers = Callable[[int], BatchScheduler]


@pytest.fixture
def scheduler() -> Iterator[Schedulers]:
    made: list[BatchScheduler] = []

    def make(threads: int) -> BatchScheduler:
        made.append(BatchScheduler(threads, "test"))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_tasks_that_wait_for_a_thread_share_a_batch(scheduler: Schedulers) -> None:
    record = Recorder()
    batches = scheduler(1).queue(BatchParameters(max_batch_size=4), record)
    batches.schedule(Rows("first", 1))
    assert record.next() == ["first"]
    for name in "abc":
        batches.schedule(Rows(name, 2))
    record.go(3)
    assert [record.next(), record.next()] == [["a", "b"], ["c"]]


def test_a_batch_waits_for_more_until_it_is_full(scheduler: Schedulers) -> None:
    record = Recorder()
    batches = scheduler(2).queue(BatchParameters(max_batch_size=4, batch_timeout_micros=HOUR), record)
    batches.schedule(Rows("a", 3))
    assert record.started.empty()
    batches.schedule(Rows("b", 1))
    record.go()
    assert record.next() == ["a", "b"]


def test_a_task_that_does_not_fit_closes_the_batch(scheduler: Schedulers) -> None:
    record = Recorder()
    batches = scheduler(1).queue(BatchParameters(max_batch_size=4, batch_timeout_micros=HOUR), record)
    batches.schedule(Rows("a", 3))
    batches.schedule(Rows("b", 2))
    record.go()
    assert record.next() == ["a"]


def test_a_full_queue_refuses(scheduler: Schedulers) -> None:
    record = Recorder()
    limits = BatchParameters(max_batch_size=2, max_enqueued_batches=2, batch_timeout_micros=HOUR)
    batches = scheduler(1).queue(limits, record)
    batches.schedule(Rows("running", 2))
    assert record.next() == ["running"]
    for name in ("a", "b"):
        batches.schedule(Rows(name, 2))
    with pytest.raises(StatusError) as error:
        batches.schedule(Rows("c", 1))
    assert error.value.code.name == "UNAVAILABLE"
    assert error.value.message == (
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and "
        "max_enqueued_batches is 2"
    )
    record.go(3)
    assert [record.next(), record.next()] == [["a"], ["b"]]
    batches.schedule(Rows("d", 2))
    record.go()
    assert record.next() == ["d"]


def test_refuses_a_task_larger_than_a_batch(scheduler: Schedulers) -> None:
    batches = scheduler(1).queue(BatchParameters(max_batch_size=2), Recorder())
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: Task size 3 is larger than maximum input batch size 2"):
        batches.schedule(Rows("a", 3))


def test_large_tasks_are_split_to_fill_batches(scheduler: Schedulers) -> None:
    record = Recorder()
    limits = BatchParameters(
        max_batch_size=10,
        max_execution_batch_size=4,
        enable_large_batch_splitting=True,
        batch_timeout_micros=HOUR,
        max_enqueued_batches=3,
    )
    batches = scheduler(1).queue(limits, record)

    def pieces(name: str) -> Callable[[list[int]], list[Rows]]:
        return lambda sizes: [Rows(f"{name}{size}", size) for size in sizes]

    batches.schedule(Rows("a", 1), pieces("a"))
    batches.schedule(Rows("b", 8), pieces("b"))
    record.go(2)
    assert [record.next(), record.next()] == [["a", "b3"], ["b4"]]
    with pytest.raises(StatusError, match="full; task size is 10 but scheduling capacity is only"):
        batches.schedule(Rows("c", 10), pieces("c"))
        batches.schedule(Rows("d", 10), pieces("d"))
    record.go(9)


def test_queues_take_turns(scheduler: Schedulers) -> None:
    record = Recorder()
    shared = scheduler(1)
    one, two = (shared.queue(BatchParameters(max_batch_size=1), record) for _ in range(2))
    one.schedule(Rows("first", 1))
    assert record.next() == ["first"]
    for name in ("1a", "1b"):
        one.schedule(Rows(name, 1))
    two.schedule(Rows("2a", 1))
    record.go(4)
    assert [record.next()[0] for _ in range(3)] == ["2a", "1a", "1b"]


def test_what_is_queued_is_processed_at_the_end(scheduler: Schedulers) -> None:
    record = Recorder()
    shared = scheduler(1)
    batches = shared.queue(BatchParameters(batch_timeout_micros=HOUR), record)
    batches.schedule(Rows("a", 1))
    shared.stop()
    record.go()
    assert record.next() == ["a"]


def test_a_thread_outlives_a_batch_that_fails(scheduler: Schedulers) -> None:
    seen: queue.Queue[str] = queue.Queue()

    def process(tasks: list[Rows]) -> None:
        seen.put(tasks[0].name)
        raise ValueError(tasks[0].name)

    batches = scheduler(1).queue(BatchParameters(max_batch_size=1), process)
    for name in "ab":
        batches.schedule(Rows(name, 1))
    assert [seen.get(timeout=60), seen.get(timeout=60)] == ["a", "b"]
