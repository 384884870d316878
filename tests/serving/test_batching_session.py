from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from serving.batch_parameters import BatchParameters
from serving.batching import BatchScheduler
from serving.batching_session import BatchingSession, Feeds
from serving.metrics import Metrics
from serving.status import StatusError, invalid_argument

HOUR = 3_600_000_000


class Doubler:
    """A session that doubles "x" and notes what it was fed; the first run waits until `go`."""

    def __init__(self) -> None:
        self.fed: list[dict[str, list]] = []
        self.timeouts: list[float | None] = []
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, feeds: Feeds, fetches: Sequence[str], timeout: float | None) -> list[np.ndarray]:
        self.fed.append({name: array.tolist() for name, array in feeds.items()})
        self.timeouts.append(timeout)
        self.began.set()
        assert self.go.wait(60)
        values = {"y": feeds["x"] * 2, "z": feeds["x"] * 3, "scalar": np.float32(1), "short": feeds["x"][:1]}
        return [values[name] for name in fetches]


Make = Callable[..., tuple[BatchingSession, Doubler]]


@pytest.fixture
def make() -> Iterator[Make]:
    schedulers: list[BatchScheduler] = []

    def build(**parameters: object) -> tuple[BatchingSession, Doubler]:
        schedulers.append(BatchScheduler(1, "pool"))
        run = Doubler()
        session = BatchingSession(run, BatchParameters(**parameters), schedulers[-1], Metrics())
        return session, run

    yield build
    for scheduler in schedulers:
        scheduler.stop()


def floats(*rows: object) -> dict[str, np.ndarray]:
    return {"x": np.array(rows, np.float32)}


def together(session: BatchingSession, run: Doubler, *requests: Feeds, fetches: Sequence[str] = ("y",)) -> list[Future]:
    """Sends one request that holds the thread, then all others, which share a batch once it is released."""
    pool = ThreadPoolExecutor(len(requests) + 1)
    first = pool.submit(session.run, floats(0), ["y"])
    assert run.began.wait(60)
    futures = []
    for count, feeds in enumerate(requests, 1):
        futures.append(pool.submit(session.run, feeds, list(fetches)))
        while sum(batch.size for queue in session._queues.values() for batch in queue._batches) < count:
            pass
    run.go.set()
    first.result(60)
    pool.shutdown(wait=True)
    return futures


def test_requests_share_a_run_and_get_their_own_rows(make: Make) -> None:
    session, run = make()
    answers = together(session, run, floats(1), floats(2), fetches=("z", "y"))
    assert run.fed[1:] == [{"x": [1, 2]}]
    assert [[output.tolist() for output in answer.result()] for answer in answers] == [[[3], [2]], [[6], [4]]]


def test_a_batch_is_padded_to_an_allowed_size_with_its_last_request(make: Make) -> None:
    session, run = make(max_batch_size=4, allowed_batch_sizes=(1, 4))
    answers = together(session, run, floats(1), floats(2))
    assert run.fed[1:] == [{"x": [1, 2, 2, 2]}]
    assert [answer.result()[0].tolist() for answer in answers] == [[2], [4]]


def test_requests_of_other_lengths_fail_together(make: Make) -> None:
    session, run = make()
    answers = together(session, run, floats([1, 2]), floats([3]))
    for answer in answers:
        with pytest.raises(
            StatusError,
            match="FAILED_PRECONDITION: Tensors with name 'x' from different tasks have different shapes and padding "
            "is turned off.Set pad_variable_length_inputs to true",
        ):
            answer.result()


def test_or_are_padded_with_their_own_first_value(make: Make) -> None:
    session, run = make(pad_variable_length_inputs=True)
    answers = together(session, run, floats([1, 2]), floats([3]))
    assert run.fed[1:] == [{"x": [[1, 2], [3, 3]]}]
    assert answers[1].result()[0].tolist() == [[6, 6]]


def test_an_empty_request_cannot_be_padded(make: Make) -> None:
    session, run = make(pad_variable_length_inputs=True)
    answers = together(session, run, floats([1, 2]), {"x": np.empty((1, 0), np.float32)})
    with pytest.raises(StatusError, match="Got empty tensor in batch of non-empty tensors."):
        answers[0].result()


def test_a_large_request_is_split_and_put_together_again(make: Make) -> None:
    session, run = make(max_batch_size=5, max_execution_batch_size=2, enable_large_batch_splitting=True)
    run.go.set()
    (answer,) = session.run(floats(1, 2, 3, 4, 5), ["y"])
    assert answer.tolist() == [2, 4, 6, 8, 10]
    assert [fed["x"] for fed in run.fed] == [[1, 2], [3, 4], [5]]


def test_a_request_without_rows_is_not_batched(make: Make) -> None:
    session, run = make()
    run.go.set()
    assert session.run({"x": np.empty((0, 2), np.float32)}, ["y"])[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": np.float32(1)}, "Batching Run() input tensors must have at least one dimension"),
        (
            {"x": np.zeros(2), "z": np.zeros(3)},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_refuses_what_cannot_be_batched(make: Make, feeds: Feeds, message: str) -> None:
    session, _ = make()
    with pytest.raises(StatusError) as error:
        session.run({name: np.asarray(array) for name, array in feeds.items()}, ["y"])
    assert (error.value.code.name, error.value.message) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    ("fetch", "message"),
    [("scalar", "Batched output tensor has 0 dimensions"), ("short", "0th dimension does not equal the sum")],
)
def test_refuses_outputs_that_are_not_one_a_row(make: Make, fetch: str, message: str) -> None:
    session, run = make()
    run.go.set()
    with pytest.raises(StatusError, match=f"FAILED_PRECONDITION: .*{message}"):
        session.run(floats(1, 2), [fetch])


def test_the_session_s_error_reaches_every_request() -> None:
    def refuse(*_: object) -> list[np.ndarray]:
        raise invalid_argument("no")

    scheduler = BatchScheduler(1, "pool")
    session = BatchingSession(refuse, BatchParameters(), scheduler, Metrics())
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: no"):
        session.run(floats(1), ["y"])
    scheduler.stop()


def test_a_batch_may_take_as_long_as_its_most_patient_request(make: Make) -> None:
    session, run = make(max_batch_size=2, batch_timeout_micros=HOUR)
    run.go.set()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(session.run, floats(1), ["y"], seconds) for seconds in (1000, 2000)]
        [future.result(60) for future in futures]
        futures = [pool.submit(session.run, floats(1), ["y"], seconds) for seconds in (1000, None)]
        [future.result(60) for future in futures]
    assert 1000 < run.timeouts[0] <= 2000
    assert run.timeouts[1] is None


def test_a_request_whose_time_is_over_is_not_run(make: Make) -> None:
    session, run = make()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(session.run, floats(0), ["y"])
        assert run.began.wait(60)
        late = pool.submit(session.run, floats(1), ["y"], 1e-6)
        while not any(queue._batches[-1].tasks for queue in session._queues.values()):
            pass
        run.go.set()
        with pytest.raises(StatusError) as error:
            late.result(60)
    assert error.value.code.name == "RESOURCE_EXHAUSTED"
    assert error.value.message == "Run() timeout exceeded while waiting in batching queue"
    assert len(run.fed) == 1


def test_counts_its_runs(make: Make) -> None:
    session, run = make()
    run.go.set()
    session.run(floats(1, 2), ["y"])
    page = session._metrics.page()
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 1" in page
    assert ':tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name="pool"} 1' in page
