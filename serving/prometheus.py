"""Counters and histograms, and the page Prometheus reads, in the form TF Serving writes it."""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence

Labels = tuple[str, ...]


def exponential(first: float, factor: float, count: int) -> list[float]:
    """`count` bounds of a histogram's buckets, each `factor` times the one before."""
    return [first * factor**power for power in range(count)]


class Counter:
    """How often something happened, for each value of the labels.

    Args:
        name: TF Serving's, "/tensorflow/serving/…".
        labels: the labels' names.
    """

    def __init__(self, name: str, labels: Sequence[str]):
        self._name = name.replace("/", ":")
        self._labels = labels
        self._lock = threading.Lock()
        self._counts: dict[Labels, int] = defaultdict(int)

    def add(self, values: Labels, amount: int = 1) -> None:
        with self._lock:
            self._counts[values] += amount

    def lines(self) -> list[str]:
        with self._lock:
            counts = sorted(self._counts.items())
        if not counts:
            return []
        return [
            f"# TYPE {self._name} counter",
            *(f"{self._name}{{{_labels(self._labels, values)}}} {count}" for values, count in counts),
        ]


class Histogram:
    """How what was observed is spread over buckets with the given upper bounds, for each value of the labels."""

    def __init__(self, name: str, labels: Sequence[str], bounds: Sequence[float]):
        self._name = name.replace("/", ":")
        self._labels = labels
        self._bounds = bounds
        self._lock = threading.Lock()
        self._buckets: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: dict[Labels, float] = defaultdict(float)

    def observe(self, values: Labels, *observed: float) -> None:
        with self._lock:
            for value in observed:
                self._buckets[values][bisect.bisect_right(self._bounds, value)] += 1
                self._sums[values] += value

    def lines(self) -> list[str]:
        with self._lock:
            rows = sorted((values, list(row), self._sums[values]) for values, row in self._buckets.items())
        if not rows:
            return []
        limits = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        lines = [f"# TYPE {self._name} histogram"]
        for values, row, total in rows:
            labels = _labels(self._labels, values)
            prefix = labels + "," if labels else ""
            count = 0
            for limit, size in zip(limits, row, strict=True):
                count += size
                lines.append(f'{self._name}_bucket{{{prefix}le="{limit}"}} {count}')
            lines.append(f"{self._name}_sum{{{labels}}} {total:g}")
            lines.append(f"{self._name}_count{{{labels}}} {count}")
        return lines


def page(metrics: Iterable[Counter | Histogram]) -> str:
    """Everything counted so far in Prometheus's text format."""
    return "\n".join(line for metric in metrics for line in metric.lines()) + "\n"


def _labels(names: Sequence[str], values: Labels) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
