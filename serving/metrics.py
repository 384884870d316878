"""The request counters TF Serving exports to Prometheus, under its names."""

from __future__ import annotations

import bisect
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.status import StatusError

PATH = "/monitoring/prometheus/metrics"
_COUNT = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_BOUNDS = [10 * 1.8**power for power in range(33)]  # microseconds, up to about 25 minutes


class Metrics:
    """Requests by model and status, and their latency in microseconds by model, API and entry point."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._buckets: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * (len(_BOUNDS) + 1))
        self._sums: dict[tuple[str, str, str], float] = defaultdict(float)

    @contextmanager
    def observe(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts what runs inside as one request to `model`, failed where it raises.

        Pass "" for a model that is not served: each name a client makes up would be a series of its own.
        """
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
            self._add(model, api, entrypoint, code, (time.perf_counter() - start) * 1e6)

    def _add(self, model: str, api: str, entrypoint: str, code: grpc.StatusCode, microseconds: float) -> None:
        key = (model, api, entrypoint)
        with self._lock:
            self._counts[model, code.name] += 1
            if code is grpc.StatusCode.OK:
                self._buckets[key][bisect.bisect_right(_BOUNDS, microseconds)] += 1
                self._sums[key] += microseconds

    def page(self) -> str:
        """Everything counted so far in Prometheus's text format."""
        with self._lock:
            counts = dict(self._counts)
            buckets = {key: list(value) for key, value in self._buckets.items()}
            sums = dict(self._sums)
        lines = [f"# TYPE {_COUNT} counter"]
        lines += [
            f'{_COUNT}{{model_name="{_escape(model)}",status="{status}"}} {count}'
            for (model, status), count in sorted(counts.items())
        ]
        lines.append(f"# TYPE {_LATENCY} histogram")
        for (model, api, entrypoint), row in sorted(buckets.items()):
            labels = f'model_name="{_escape(model)}",API="{api}",entrypoint="{entrypoint}"'
            total = 0
            for bound, count in zip([*(f"{bound:g}" for bound in _BOUNDS), "+Inf"], row, strict=True):
                total += count
                lines.append(f'{_LATENCY}_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"{_LATENCY}_sum{{{labels}}} {sums[model, api, entrypoint]:g}")
            lines.append(f"{_LATENCY}_count{{{labels}}} {total}")
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
