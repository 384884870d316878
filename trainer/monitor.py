"""What a training run tells of itself while it runs: who does how much, how stale, and where the time goes.

The same counts go to Prometheus (since the coordinator's process started), into an epoch's entry of ``history.json``
and of TensorBoard (of that epoch), and into the epoch's line on the terminal.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from trainer.cluster.strategy import Result
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable

STALENESS_BUCKETS = (0, 1, 2, 4, 8, 16, 32, 64, 128)  # units


class Monitor:
    """Counts for one coordinator's training; a new coordinator starts from zero.

    Args:
      port: serves Prometheus's text format at ``http://<every address>:<port>/metrics`` until closed; 0 does not.

    Raises:
      ValueError: the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"antiphon_train_{name}", about, labels, registry=registry)

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"antiphon_train_{name}", about, labels, registry=registry)

        self._steps = counter("steps", "Steps of finished units.", "worker")
        self._examples = counter("examples", "Training rows of finished units.", "worker")
        self._units = counter("units", "Finished units of work.", "worker")
        self._repeated = counter("repeated_units", "Units begun again because their worker was lost.")
        self._phase = counter("phase_seconds", "Seconds of the coordinator, by what it did.", "phase")
        self._queue = gauge("queue_units", "This epoch's units not given out, and given out but not finished.", "state")
        self._bytes = gauge("server_bytes", "Of parameters and optimizer slots on a parameter server.", "server")
        self._epoch = gauge("epoch", "Epochs finished.")
        self._loss = gauge("loss", "Mean loss of the last finished epoch.")
        self._stale = Histogram(
            "antiphon_train_staleness_units", "Units that others finished between a unit's beginning and end.",
            registry=registry, buckets=STALENESS_BUCKETS,
        )  # fmt: skip
        self._since_epoch = _Tally()
        self._held: Sequence[int] = ()
        self._server = None
        if port:
            try:
                self._server, _ = start_http_server(port, registry=registry)
            except OSError as error:
                raise ValueError(f"train.metrics_port {port} cannot be listened on: {error}") from None

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def unit(self, result: Result, steps: int, examples: int) -> None:
        """A unit of work has come back with ``result``."""
        worker, staleness, repeats = result.worker, result.staleness, result.attempts - 1
        self._steps.labels(worker).inc(steps)
        self._examples.labels(worker).inc(examples)
        self._units.labels(worker).inc()
        self._repeated.inc(repeats)
        self._stale.observe(staleness)
        self._since_epoch.steps[worker] += steps
        self._since_epoch.examples[worker] += examples
        self._since_epoch.repeated += repeats
        self._since_epoch.staleness.append(staleness)

    def queue(self, waiting: int, scheduled: int) -> None:
        """Units of this epoch that are not given out, and those that are and have not come back."""
        self._queue.labels("waiting").set(waiting)
        self._queue.labels("scheduled").set(scheduled)
        self._since_epoch.scheduled.append(scheduled)

    def servers(self, held: Sequence[int]) -> None:
        """Bytes on each parameter server, see ``server_bytes``."""
        self._held = held
        for server, count in enumerate(held):
            self._bytes.labels(server).set(count)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time within as spent on ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._phase.labels(name).inc(seconds)
            self._since_epoch.phases[name] += seconds

    def epoch(self, number: int, loss: float, seconds: float) -> dict[str, float]:
        """What was counted since the last call, for the entry of epoch ``number``, whose training took ``seconds``.

        A phase that comes after this call, such as the checkpoint, is in the next epoch's.
        """
        self._epoch.set(number)
        self._loss.set(loss)
        tally, self._since_epoch = self._since_epoch, _Tally()
        entry: dict[str, float] = {}
        for worker in sorted(tally.steps):
            for name, count in (("steps", tally.steps[worker]), ("examples", tally.examples[worker])):
                entry[f"worker_{worker}/{name}"] = count
                entry[f"worker_{worker}/{name}_per_second"] = count / seconds
        entry["staleness/mean"] = _mean(tally.staleness)
        entry["staleness/max"] = max(tally.staleness, default=0)
        entry["queue/scheduled"] = _mean(tally.scheduled)
        entry["repeated_units"] = tally.repeated
        entry |= {f"phase_seconds/{name}": spent for name, spent in tally.phases.items()}
        return entry | {f"server_{server}/bytes": count for server, count in enumerate(self._held)}


class _Tally:
    """What an epoch's entry is made of."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = defaultdict(int)
        self.examples: dict[int, int] = defaultdict(int)
        self.phases: dict[str, float] = defaultdict(float)
        self.staleness: list[int] = []
        self.scheduled: list[int] = []
        self.repeated = 0


def server_bytes(tables: Sequence[EmbeddingTable], dense: FlatWeights, devices: Sequence[str | None]) -> list[int]:
    """Bytes of tables, dense weights and all their slots on each of ``devices``."""
    held = dict.fromkeys(devices, 0)
    for part, variables in [*((table, table.shards) for table in tables), (dense, dense.variables)]:
        for group in (variables, *part.slots.values()):
            for device, variable in zip(part.devices, group, strict=True):
                held[device] += variable.shape.num_elements() * variable.dtype.size
    return list(held.values())


def line(entry: dict[str, float]) -> str:
    """An epoch's entry in a few words: the slowest and the fastest worker, staleness, repeats, seconds a phase."""
    rates = sorted(v for n, v in entry.items() if n.startswith("worker_") and n.endswith("/steps_per_second"))
    words = [f"{rates[0]:.1f}" if len(rates) == 1 else f"{rates[0]:.1f}–{rates[-1]:.1f}"] if rates else ["0"]
    words = [f"{len(rates)} worker{'s' * (len(rates) > 1)} {words[0]} steps/s"]
    if len(rates) > 1:
        words.append(f"staleness {entry['staleness/mean']:.1f}")
    if entry["repeated_units"]:
        words.append(f"repeated {entry['repeated_units']:.0f}")
    phases = {n.removeprefix("phase_seconds/"): v for n, v in entry.items() if n.startswith("phase_seconds/")}
    return "  ".join([*words, *(f"{name} {spent:.1f}s" for name, spent in phases.items() if spent >= 0.05)])


def _mean(values: Sequence[int]) -> float:
    return sum(values) / max(len(values), 1)
