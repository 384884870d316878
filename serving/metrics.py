"""What the server counts, under the names TF Serving exports to Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.prometheus import Counter, Histogram, exponential, page
from serving.status import StatusError

PATH = "/monitoring/prometheus/metrics"
_MICROSECONDS = exponential(10, 1.8, 33)  # up to about 25 minutes
_SIZES = exponential(1, 2, 15)


class Metrics:
    """Requests by model and status, and their latency in microseconds by model, API and entry point; and the rest.

    Label values are the model's name where it is served, "" where it is not: each name a client makes up would be a
    series of its own.
    """

    def __init__(self) -> None:
        self.request_count = Counter("/tensorflow/serving/request_count", ["model_name", "status"])
        self.request_latency = Histogram(
            "/tensorflow/serving/request_latency", ["model_name", "API", "entrypoint"], _MICROSECONDS
        )
        self.runtime_latency = Histogram(
            "/tensorflow/serving/runtime_latency", ["model_name", "API", "runtime"], _MICROSECONDS
        )
        self.example_counts = Histogram("/tensorflow/serving/request_example_counts", ["model"], _SIZES)
        self.example_count_total = Counter("/tensorflow/serving/request_example_count_total", ["model"])
        self.warmup_latency = Histogram(
            "/tensorflow/serving/model_warmup_latency", ["model_path", "status"], _MICROSECONDS
        )
        self.load_attempt_count = Counter("/tensorflow/cc/saved_model/load_attempt_count", ["model_path", "status"])
        self.load_latency = Counter("/tensorflow/cc/saved_model/load_latency", ["model_path"])
        self.queuing_latency = Histogram(
            "/tensorflow/serving/batching_session/queuing_latency",
            ["thread_pool_name"],
            exponential(100, 1.2, 52),
        )
        self.wrapped_run_count = Counter("/tensorflow/serving/batching_session/wrapped_run_count", [])
        self.input_batch_size = Histogram("/tensorflow/serving/batching_session/input_batch_size", [], _SIZES)
        self.processed_batch_size = Histogram(
            "/tensorflow/serving/batching_session/processed_batch_size", [], _SIZES
        )
        # not TF Serving's: rows of the served log by what became of them, "written", "dropped" or "failed"
        self.served_log_rows = Counter("/antiphon/serving/served_log_rows", ["outcome"])

    @contextmanager
    def observe(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts what runs inside as one request to `model`, failed where it raises."""
        code = grpc.StatusCode.OK
        start = time.perf_counter()
        try:
            yield
        except StatusError as error:
            code = error.code
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            raise
        finally:
            self.request_count.add((model, code.name))
            if code is grpc.StatusCode.OK:
                self.request_latency.observe((model, api, entrypoint), (time.perf_counter() - start) * 1e6)

    def examples(self, model: str, count: int) -> None:
        """Counts the examples of one request."""
        self.example_counts.observe((model,), count)
        self.example_count_total.add((model,), count)

    def page(self) -> str:
        """Everything counted so far in Prometheus's text format."""
        return page(vars(self).values())
