"""Exact mean value analysis of a closed queueing network with one class of customers.

N customers go round: each thinks for Z seconds (no queue), then visits every station k, where it needs D_k seconds and
waits for those before it. With Q_k(0) = 0, for n = 1 … N:

    R_k(n) = D_k · (1 + Q_k(n − 1))      X(n) = n / (Z + Σ R_k(n))      Q_k(n) = X(n) · R_k(n)

(Reiser & Lavenberg, "Mean-Value Analysis of Closed Multichain Queuing Networks", JACM 27(2), 1980.) A station of m
servers is taken for a single one of D/m and a delay of D·(m − 1)/m before it (Seidmann, Schweitzer & Shalev-Oren,
"Computerized Closed Queueing Network Models of Flexible Manufacturing Systems", Large Scale Systems 12, 1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Station:
    """Where customers queue.

    Raises:
        ValueError: a negative demand, or no server.
    """

    name: str
    demand: float  # seconds of one server that a customer needs, in one round
    servers: int = 1

    def __post_init__(self):
        if self.demand < 0:
            raise ValueError(f"station {self.name!r}: demand must not be negative, got {self.demand}")
        if self.servers < 1:
            raise ValueError(f"station {self.name!r}: servers must be at least 1, got {self.servers}")

    @property
    def bound(self) -> float:
        """Seconds between two customers when it never idles."""
        return self.demand / self.servers


@dataclass(frozen=True)
class Network:
    """Stations and what a customer does beside them.

    Raises:
        ValueError: a negative time to think, or nothing takes any time.
    """

    think: float  # seconds
    stations: Sequence[Station]

    def __post_init__(self):
        if self.think < 0:
            raise ValueError(f"think must not be negative, got {self.think}")
        if self.round == 0:
            raise ValueError("a round must take time")

    @property
    def round(self) -> float:
        """Seconds of a round of a customer alone."""
        return self.think + sum(station.demand for station in self.stations)

    @property
    def bottleneck(self) -> Station:
        """The station that is busy first."""
        return max(self.stations, key=lambda station: station.bound)

    @property
    def saturation(self) -> float:
        """Customers from which on the bottleneck and not their number is the limit, N* = (Z + Σ D) / max D/m
        (Denning & Buzen, "The Operational Analysis of Queueing Network Models", Computing Surveys 10(3), 1978)."""
        return self.round / self.bottleneck.bound if self.stations and self.bottleneck.bound else float("inf")

    def throughput(self, customers: int) -> np.ndarray:
        """Rounds a second of 1, 2, … ``customers`` customers: (customers,)."""
        demand = np.array([station.bound for station in self.stations])
        delay = self.round - demand.sum()
        queue, found = np.zeros_like(demand), np.empty(customers)
        for n in range(1, customers + 1):
            response = demand * (1 + queue)
            found[n - 1] = n / (delay + response.sum())
            queue = found[n - 1] * response
        return found
