"""The model of `antiphon bench scale`: what a unit of work needs of each machine, as stations of a closed network.

A worker is a customer: it computes, then needs each server in turn, then the coordinator hands it its next unit. In
truth servers work at the same time for one worker, and a worker computes while bytes travel; the model takes one after
the other, so it is slow where few workers meet many servers, and right where something is saturated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks._ps_settings import Case
from benchmarks._scale_mva import Network, Station
from benchmarks._scale_turns import Taken
from trainer.layers.flat import placed


@dataclass(frozen=True)
class Hardware:
    """Machines of a cluster on which every process has its own."""

    worker_cores: int = 2  # as deploy/tfjob.yaml asks for
    server_cores: int = 2
    gigabits: float = 10.0  # a second, each way, of a server's link
    round_trip_ms: float = 0.1
    coordinator_speed: float = 1.0  # of one core here


@dataclass(frozen=True)
class Calls:
    """RPCs of a unit between a worker and ``servers`` servers: some for each server, some for the dense weights."""

    fixed: float
    per_server: float

    @classmethod
    def between(cls, one: float, two: float) -> Calls:
        """From the calls with one server and with two."""
        return cls(2 * one - two, two - one)

    def total(self, servers: int) -> float:
        return self.fixed + self.per_server * servers


@dataclass(frozen=True)
class Demands:
    """What a unit of work takes, from one worker's turns on one server and on two.

    The dense weights' part of the bytes is known; the rest is rows, which all servers share alike. A server's
    processor seconds are so much a call and so much a byte.
    """

    case: Case
    alone: Taken  # one worker, one server
    calls: Calls
    worker_call: float  # processor seconds
    server_call: float

    @classmethod
    def of(
        cls,
        cases: Mapping[str, Case],
        one: Mapping[str, Taken],
        two: Mapping[str, Taken],
        calls: Mapping[str, Calls],
    ) -> dict[str, Demands]:
        """For each case; ``one`` and ``two`` are one worker's turns on so many servers.

        The seconds of a call are what the second server adds over the calls it adds: least squares over the cases, each
        in units of its own seconds, because those scatter in proportion.
        """
        seconds = {}
        for role in ("worker", "server"):
            alone = {c: getattr(one[c], role) for c in cases}
            added = [(calls[c].per_server / alone[c], getattr(two[c], role) / alone[c] - 1) for c in cases]
            slope = sum(n * more for n, more in added) / sum(n * n for n, _ in added)
            most = min(alone[c] / calls[c].total(1) for c in cases)
            seconds[role] = min(max(0.0, slope), most)
        return {c: cls(cases[c], one[c], calls[c], seconds["worker"], seconds["server"]) for c in cases}

    @property
    def examples(self) -> int:
        return self.case.batch * self.case.unrolled

    @property
    def rounds(self) -> int:
        """Round trips one after the other: the coordinator's, and a pull and a push, of the unit or of each step."""
        return 1 + 2 * (1 if self.alone.dense_copies < self.case.unrolled else self.case.unrolled)

    def worker(self, servers: int) -> float:
        """Processor seconds of the worker."""
        return self.alone.worker + self.worker_call * (self.calls.total(servers) - self.calls.total(1))

    def bytes_of(self, servers: int) -> list[tuple[float, float]]:
        """(to the worker, from it) of each server."""
        dense = self.alone.dense_copies * sum(self.alone.dense_bytes)
        rows = [max(0.0, way - dense) / servers for way in (self.alone.down[0], self.alone.up[0])]
        return [(rows[0] + dense * share, rows[1] + dense * share) for share in self.shares(servers)]

    def server(self, servers: int) -> list[float]:
        """Processor seconds of each server."""
        both_ways = [sum(ways) for ways in self.bytes_of(servers)]
        a_byte = (self.alone.server - self.server_call * self.calls.total(1)) / sum(self.bytes_of(1)[0])
        calls = [self.calls.per_server + self.calls.fixed * share for share in self.shares(servers)]
        return [self.server_call * n + a_byte * size for n, size in zip(calls, both_ways, strict=True)]

    def shares(self, servers: int) -> list[float]:
        """Of the dense weights, on each server: a variable lies on one server whole."""
        sizes, found = self.alone.dense_bytes, [0.0] * servers
        for size, server in zip(sizes, placed(sizes, range(servers)), strict=True):
            found[server] += size / sum(sizes)
        return found


def shared_machine(demands: Demands, servers: int, cores: int) -> Network:
    """All processes on this machine's cores. What one worker alone waits for beside them, or saves by computing on
    several at once, is as in its turn on one server."""
    taken = demands.alone
    processors = demands.worker(servers) + sum(demands.server(servers)) + taken.coordinator
    beside = max(0.0, taken.seconds - taken.processors / cores)
    return Network(beside, [Station("processors", processors / cores)])


def own_machines(demands: Demands, servers: int, hardware: Hardware) -> Network:
    """Every process on its own machine."""
    bytes_a_second = hardware.gigabits * 1e9 / 8
    stations = [Station("coordinator", demands.alone.coordinator / hardware.coordinator_speed)]
    parts = zip(demands.server(servers), demands.bytes_of(servers), strict=True)
    for seconds, (down, up) in parts:
        stations += [
            Station("server processors", seconds, hardware.server_cores),
            Station("server link out", down / bytes_a_second),
            Station("server link in", up / bytes_a_second),
        ]
    computing = demands.worker(servers) / hardware.worker_cores
    return Network(computing + demands.rounds * hardware.round_trip_ms / 1000, stations)


@dataclass(frozen=True)
class Prediction:
    """Of a cluster on which every process has its own machine."""

    examples_per_second: float
    limit: str  # "workers" while more of them still help, else the station that is saturated
    bottleneck: str  # the busiest station
    busy: float  # its share of the time
    workers_fed: float  # by one server, before a server is saturated
    twice: dict[str, float]  # throughput over this one's with twice of something

    @classmethod
    def of(cls, demands: Demands, workers: int, servers: int, hardware: Hardware) -> Prediction:
        network = own_machines(demands, servers, hardware)
        speed = network.throughput(workers)[-1]
        servers_bound = max(station.bound for station in network.stations if station.name.startswith("server"))
        levers = {
            "workers": (2 * workers, servers, hardware),
            "servers": (workers, 2 * servers, hardware),
            "worker_cores": (workers, servers, replace(hardware, worker_cores=2 * hardware.worker_cores)),
            "server_cores": (workers, servers, replace(hardware, server_cores=2 * hardware.server_cores)),
            "link": (workers, servers, replace(hardware, gigabits=2 * hardware.gigabits)),
            "coordinator": (workers, servers, replace(hardware, coordinator_speed=2 * hardware.coordinator_speed)),
        }
        return cls(
            speed * demands.examples,
            "workers" if workers < network.saturation else network.bottleneck.name,
            network.bottleneck.name,
            speed * network.bottleneck.bound,
            network.round / servers_bound / servers,
            {name: own_machines(demands, s, h).throughput(w)[-1] / speed for name, (w, s, h) in levers.items()},
        )
