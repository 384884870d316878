"""What one cluster's turns of `antiphon bench scale` took, by unit of work and by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._ps_settings import Case


@dataclass(frozen=True)
class Taken:
    """By one case on one cluster, a unit of work in the mean."""

    workers: int
    servers: int
    units: int  # that were trained
    seconds: float  # between two units' ends, of all workers together
    worker: float  # processor seconds of all workers together; so the next two
    server: float
    coordinator: float
    down: tuple[float, ...]  # bytes from each server to the workers
    up: tuple[float, ...]  # and back
    others_cores: float  # cores that other processes of the machine kept busy
    dense_bytes: tuple[int, ...]  # of each variable of the dense weights
    dense_copies: int  # of them that travel each way
    pairs: tuple[tuple[str, str, float], ...]  # bytes by sender and receiver

    @classmethod
    def read(cls, told: dict[str, Any], workers: int, servers: int) -> Taken:
        """Of what `_scale_cluster` measured."""
        units = told["units"]

        def processors(role: str) -> float:
            return sum(s for name, s in told["processor_seconds"].items() if name.startswith(role)) / units

        def moved(kinds: Sequence[str], server: str) -> float:
            pairs = [(pair, number) for *pair, number in told["bytes"] if server in pair]
            return sum(number for pair, number in pairs if [name.split("-")[0] for name in pair] == kinds) / units

        names = [f"ps-{k}" for k in range(servers)]
        return cls(
            workers=workers,
            servers=servers,
            units=units,
            seconds=told["seconds"] / units,
            worker=processors("worker"),
            server=processors("ps"),
            coordinator=processors("coordinator"),
            down=tuple(moved(["ps", "worker"], name) for name in names),
            up=tuple(moved(["worker", "ps"], name) for name in names),
            others_cores=told["others_cores"],
            dense_bytes=tuple(told["dense_bytes"]),
            dense_copies=told["dense_copies"],
            pairs=tuple((sender, receiver, number / units) for sender, receiver, number in told["bytes"]),
        )

    @property
    def processors(self) -> float:
        """Processor seconds of all roles."""
        return self.worker + self.server + self.coordinator

    def by_step(self, case: Case) -> dict[str, Any]:
        """The figures of a step; bytes and calls are by pair of processes in a step of all workers together."""
        steps = case.unrolled
        return {
            "workers": self.workers,
            "servers": self.servers,
            "steps": self.units * steps,
            "seconds": round(self.seconds / steps, 6),
            "examples_per_second": round(case.batch * steps / self.seconds),
            "processor_seconds": {
                role: round(getattr(self, role) / steps, 6) for role in ("worker", "server", "coordinator")
            },
            "bytes": {f"{sender} to {receiver}": round(n / steps) for sender, receiver, n in self.pairs},
            "others_cores": round(self.others_cores, 2),
        }


def between_workers_and_servers(told: dict[str, Any]) -> float:
    """Calls of a unit that a worker makes to a server or a server to a worker, all servers together."""
    ends = {"ps", "worker"}
    return sum(n for a, b, _, n in told["calls"] if {a.split("-")[0], b.split("-")[0]} == ends) / told["units"]
