"""Runs requests of one signature together: TF Serving's `BatchingSession`, with its rules and errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import grpc
import numpy as np

from serving.batch_parameters import BatchParameters
from serving.batching import BatchQueue, BatchScheduler
from serving.metrics import Metrics
from serving.status import StatusError, invalid_argument

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds, Sequence[str], float | None], list[np.ndarray]]


class _Call:
    """A request, or a piece of one, in a queue; `answer` gets its outputs."""

    def __init__(self, feeds: Feeds, size: int, deadline: float | None):
        self.feeds = feeds
        self.size = size
        self.deadline = deadline
        self.queued = time.monotonic()
        self.answer: Future[list[np.ndarray]] = Future()


class BatchingSession:
    """`run` as a session's, but for requests that come at the same time being put together along their 0th dimension.

    Requests with the same inputs and outputs share batches.
    """

    def __init__(self, run: Run, parameters: BatchParameters, scheduler: BatchScheduler, metrics: Metrics):
        self._run = run
        self._parameters = parameters
        self._scheduler = scheduler
        self._metrics = metrics
        self._lock = threading.Lock()
        self._queues: dict[tuple[frozenset[str], tuple[str, ...]], BatchQueue] = {}

    def close(self) -> None:
        for queue in self._queues.values():
            self._scheduler.remove(queue)

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout: float | None = None) -> list[np.ndarray]:
        """Waits for the batch that the request is put into.

        Args:
            feeds: tensor name → array, all with the same 0th dimension; without rows it is not batched.
            fetches: tensors whose 0th dimension is that of the feeds.
            timeout: seconds it may take; a batch takes as long as its most patient request allows.

        Raises:
            StatusError: INVALID_ARGUMENT for inputs that cannot be batched, UNAVAILABLE where the queue is full,
                RESOURCE_EXHAUSTED where its time was over before its batch's turn, FAILED_PRECONDITION where the
                batch's requests or its outputs do not fit together, and what the session raises.
        """
        size = _rows(feeds)
        self._metrics.input_batch_size.observe((), size)
        if size == 0:
            return self._run(feeds, fetches, timeout)
        names = tuple(sorted(set(fetches)))
        call = _Call(feeds, size, None if not timeout else time.monotonic() + timeout)
        parts = [call]

        def pieces(sizes: Sequence[int]) -> list[_Call]:
            ends = np.cumsum(sizes).tolist()
            parts[:] = [
                _Call({name: array[end - part : end] for name, array in feeds.items()}, part, call.deadline)
                for part, end in zip(sizes, ends, strict=True)
            ]
            return parts

        self._queue(frozenset(feeds), names).schedule(call, pieces)
        answers = [part.answer.result() for part in parts]
        outputs = answers[0] if len(answers) == 1 else [np.concatenate(arrays) for arrays in zip(*answers, strict=True)]
        by_name = dict(zip(names, outputs, strict=True))
        return [by_name[name] for name in fetches]

    def _queue(self, feeds: frozenset[str], fetches: tuple[str, ...]) -> BatchQueue:
        with self._lock:
            queue = self._queues.get((feeds, fetches))
            if queue is None:
                queue = self._scheduler.queue(self._parameters, lambda calls: self._process(calls, fetches))
                self._queues[feeds, fetches] = queue
        return queue

    def _process(self, calls: Sequence[_Call], fetches: tuple[str, ...]) -> None:
        try:
            answers = self._answers(calls, fetches)
        except Exception as error:
            if not isinstance(error, StatusError):
                error = StatusError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
            for call in calls:
                # each its own: an exception that several threads raise would gather all their tracebacks
                call.answer.set_exception(StatusError(error.code, error.message))
            return
        for call, answer in zip(calls, answers, strict=True):
            call.answer.set_result(answer)

    def _answers(self, calls: Sequence[_Call], fetches: tuple[str, ...]) -> list[list[np.ndarray]]:
        now = time.monotonic()
        for call in calls:
            self._metrics.queuing_latency.observe((self._scheduler.name,), (now - call.queued) * 1e6)
        timeout = _timeout(calls, now)
        rows = sum(call.size for call in calls)
        padded = self._parameters.padded_size(rows)
        feeds = _merged([call.feeds for call in calls], padded - rows, self._parameters.pad_variable_length_inputs)
        self._metrics.processed_batch_size.observe((), padded)
        self._metrics.wrapped_run_count.add(())
        outputs = self._run(feeds, fetches, timeout)
        return _split(outputs, [call.size for call in calls], padded)


def _rows(feeds: Feeds) -> int:
    if not feeds:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in feeds.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _timeout(calls: Sequence[_Call], now: float) -> float | None:
    deadlines = [call.deadline for call in calls]
    if None in deadlines:
        return None
    left = max(deadlines) - now
    if left <= 0:
        raise StatusError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"
        )
    return left


def _merged(requests: Sequence[Feeds], padding: int, pad_lengths: bool) -> dict[str, np.ndarray]:
    merged = {}
    for name in sorted(requests[0]):
        arrays = [request[name] for request in requests]
        if len({array.shape[1:] for array in arrays}) > 1:
            arrays = _of_one_length(name, arrays, pad_lengths)
        # the last request's first row is a valid one, so it is safe to run it again
        merged[name] = np.concatenate([*arrays, *[arrays[-1][:1]] * padding])
    return merged


def _of_one_length(name: str, arrays: Sequence[np.ndarray], pad_lengths: bool) -> list[np.ndarray]:
    if not pad_lengths or len({array.ndim for array in arrays}) > 1:
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
            "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
            "have equal dimensions starting with the first dim.",
        )
    if arrays[0].ndim > 6:
        raise invalid_argument("Only tensors with rank from 1 to 6 can be padded.")
    longest = np.max([array.shape[1:] for array in arrays], axis=0).tolist()
    return [_padded(array, longest) for array in arrays]


def _padded(array: np.ndarray, longest: Sequence[int]) -> np.ndarray:
    """`array` with its own first value behind each row, up to the sizes `longest` of the further dimensions."""
    if list(array.shape[1:]) == list(longest):
        return array
    if array.size == 0:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    padded = np.full((len(array), *longest), array.flat[0], array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


def _split(outputs: Sequence[np.ndarray], sizes: Sequence[int], total: int) -> list[list[np.ndarray]]:
    for output in outputs:
        if np.ndim(output) == 0:
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(output) != total:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
    ends = np.cumsum(sizes).tolist()
    return [[output[end - size : end] for output in outputs] for size, end in zip(sizes, ends, strict=True)]
