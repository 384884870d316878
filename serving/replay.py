"""Sends the requests of a served log to a server, and compares its answers with those of the log."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from feature_store.checks import at_least
from feature_store.served_log import ServedRow
from serving.client import Client
from serving.errors import ServingError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Replay:
    """Where to send a log.

    Attributes:
        server: "host:port" of its gRPC port, or of its REST port with `rest`.
        model: the model to ask; "": each row's own.
        version, label: which version of it; neither asks the newest.
        clients: requests under way at once.
        k: how many of the best items of two answers are compared.
        timeout: seconds a request may take.
    """

    server: str
    rest: bool = False
    model: str = ""
    version: int | None = None
    label: str | None = None
    clients: int = 1
    k: int = 10
    timeout: float = 10.0

    def __post_init__(self) -> None:
        at_least("clients", self.clients, 1)
        at_least("k", self.k, 1)

    def run(self, rows: Iterable[ServedRow]) -> dict[str, Any]:
        """Asks every Predict request of the rows again. Nothing is written anywhere but in the server's own log.

        Returns:
            What `Comparison.report` says.
        """
        found = Comparison(self.k)
        taken = _Shared(tqdm(rows, desc="replay", unit="row", delay=2))
        failures: list[BaseException] = []
        with ExitStack() as stack:
            clients = _Clients(self, stack)

            def work() -> None:
                try:
                    for row in taken:
                        self._ask(row, clients, found)
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, name=f"replay {n}") for n in range(self.clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
        return found.report()

    def _ask(self, row: ServedRow, clients: _Clients, found: Comparison) -> None:
        if row.api != "Predict":
            found.skipped(row)
            return
        client = clients.of(self.model or row.model)
        start = time.perf_counter()
        try:
            answer = client.predict(row.inputs, row.signature, tuple(row.outputs), context=row.context)
        except (ServingError, ValueError) as error:
            found.failed(error)
        else:
            found.answered(row, answer.outputs, answer.version, time.perf_counter() - start)


class Comparison:
    """Answers against those of the log. Threads may share one.

    Where both answers have "items" and "scores" (n, K), as the exported recommender's, row by row: the share of the
    first k items that both have, whether they are the same in the same order, whether the first is the same, and how
    far the scores of items that both have are apart. Any other output, value by value.
    """

    def __init__(self, k: int):
        self._k = k
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._versions: dict[str, Counter[str]] = {"logged": Counter(), "replayed": Counter()}
        self._seconds: dict[str, list[float]] = {"logged": [], "replayed": []}
        self._lists: dict[str, list[float]] = defaultdict(list)
        self._values: dict[str, list[tuple[int, int, float, float]]] = defaultdict(list)

    def skipped(self, row: ServedRow) -> None:
        with self._lock:
            self._counts["skipped"] += 1

    def failed(self, error: Exception) -> None:
        with self._lock:
            self._counts["failed"] += 1
            self._errors[f"{type(error).__name__}: {error}"[:200]] += 1

    def answered(self, row: ServedRow, outputs: Arrays, version: int | None, seconds: float) -> None:
        """`outputs`: what the row's request was answered now, by `version`, in so many seconds."""
        with self._lock:
            self._counts["answered"] += 1
            self._versions["logged"][f"{row.model}/{row.version}"] += 1
            self._versions["replayed"]["?" if version is None else str(version)] += 1
            self._seconds["logged"].append(row.seconds)
            self._seconds["replayed"].append(seconds)
            if {"items", "scores"} <= row.outputs.keys() & outputs.keys() and row.outputs["items"].ndim == 2:
                self._compare_lists(row.outputs, outputs)
            else:
                for name in row.outputs:
                    self._values[f"{row.signature}.{name}"].append(_difference(row.outputs[name], outputs.get(name)))

    def _compare_lists(self, logged: Arrays, replayed: Arrays) -> None:
        for row in range(len(logged["items"])):
            a, b = (_best(side, row, self._k) for side in (logged, replayed))
            both = a.keys() & b.keys()
            self._lists["overlap"].append(len(both) / max(len(a), len(b), 1))
            self._lists["same_order"].append(list(a) == list(b))
            self._lists["same_first"].append(list(a)[:1] == list(b)[:1])
            self._lists["difference"] += [abs(a[item] - b[item]) for item in both]

    def report(self) -> dict[str, Any]:
        """Counts, agreement and latency as JSON takes them.

        Seconds of the log are the server's own, those of the replay the client's, the way there and back included.
        """
        report: dict[str, Any] = {name: self._counts[name] for name in ("answered", "failed", "skipped")}
        report["errors"] = dict(self._errors.most_common(10))
        report["versions"] = {side: dict(counts) for side, counts in self._versions.items()}
        if self._lists:
            means = {name: float(np.mean(self._lists[name])) for name in ("overlap", "same_order", "same_first")}
            apart = self._lists["difference"] or [0.0]
            report["top_k"] = {
                "k": self._k,
                "lists": len(self._lists["overlap"]),
                **means,
                "score_difference_mean": float(np.mean(apart)),
                "score_difference_max": float(np.max(apart)),
            }
        report["outputs"] = {name: _summed(parts) for name, parts in sorted(self._values.items())}
        report["latency_ms"] = {
            side: {f"p{q}": float(np.percentile(seconds, q)) * 1e3 for q in (50, 99)}
            for side, seconds in self._seconds.items()
            if seconds
        }
        return report


class _Shared:
    """An iterator that threads may share."""

    def __init__(self, rows: Iterable[ServedRow]):
        self._rows = iter(rows)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[ServedRow]:
        return self

    def __next__(self) -> ServedRow:
        with self._lock:
            return next(self._rows)


class _Clients:
    """A client for each model that the log names."""

    def __init__(self, replay: Replay, stack: ExitStack):
        self._replay, self._stack = replay, stack
        self._lock = threading.Lock()
        self._open: dict[str, Client] = {}

    def of(self, model: str) -> Client:
        to = self._replay
        with self._lock:
            if model not in self._open:
                client = Client(to.server, model, to.version, label=to.label, rest=to.rest, timeout=to.timeout)
                self._open[model] = self._stack.enter_context(client)
            return self._open[model]


def _best(outputs: Arrays, row: int, k: int) -> dict[str, float]:
    """The first k items of a row and their scores; "" is no item."""
    pairs = zip(outputs["items"][row].tolist(), outputs["scores"][row].tolist(), strict=True)
    return dict([(item, score) for item, score in pairs if item][:k])


def _difference(logged: np.ndarray, replayed: np.ndarray | None) -> tuple[int, int, float, float]:
    """(values, those that are equal, sum and maximum of the differences of numbers)."""
    if replayed is None or replayed.shape != logged.shape:
        return logged.size, 0, float("nan"), float("nan")
    equal = int(np.sum(logged == replayed))
    if logged.dtype.hasobject or not logged.size:
        return logged.size, equal, 0.0, 0.0
    apart = np.abs(logged.astype(np.float64) - replayed.astype(np.float64))
    return logged.size, equal, float(apart.sum()), float(apart.max())


def _summed(parts: list[tuple[int, int, float, float]]) -> dict[str, Any]:
    values, equal, total, most = (np.array(column) for column in zip(*parts, strict=True))
    other_shape = int(np.isnan(total).sum())
    return {
        "values": int(values.sum()),
        "equal": float(equal.sum() / max(values.sum(), 1)),
        "difference_mean": float(np.nansum(total) / max(values[~np.isnan(total)].sum(), 1)),
        "difference_max": float(np.nanmax(most)) if other_shape < len(parts) else 0.0,
        "other_shape": other_shape,
    }
