"""One cluster of `antiphon bench scale`, which trains each case and says what a turn took, as JSON on the last line.

`python -m benchmarks._scale_cluster measure <settings as JSON> <seconds>` measures the seconds, the processors' seconds
by process and the bytes between processes; `… rpcs <settings as JSON>` counts calls between processes instead, for
which `_scale_rpcs.TRACED` has to be in the environment and which slows everything else.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import _scale_rpcs, _scale_sockets
from benchmarks._ps_ours import Ours
from benchmarks._ps_settings import Settings
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster

THREADS = 1  # in which a server computes, whatever the number of workers, so that all clusters' are alike
TICKS = os.sysconf("SC_CLK_TCK")  # of the processor clock in a second
COUNTED = 4  # units a worker of which calls are counted


class Turn:
    """A case trained on a cluster whose processes are watched."""

    def __init__(self, settings: Settings, servers: LocalCluster) -> None:
        self.settings = settings
        self.pids = {"coordinator": os.getpid(), **servers.pids}
        self.addresses = {
            address: "coordinator" if role == "chief" else f"{role}-{index}"
            for role, addresses in servers.tf_config["cluster"].items()
            for index, address in enumerate(addresses)
        }
        self.ours = Ours(settings, strategy.connect(servers.tf_config))

    def units(self, case: str, count: int) -> float:
        """Trains so many units of work; returns the seconds."""
        return self.ours.run(case, count * self.settings.cases[case].unrolled)

    def measure(self, case: str, seconds: float) -> dict[str, Any]:
        """What about ``seconds`` of training take. The first units, which compile on every worker, are not counted."""
        workers = self.settings.setup.workers
        self.units(case, 2 * workers)
        one = self.units(case, 4 * workers) / (4 * workers)
        count = workers * max(4, round(seconds / one / workers))
        before = self._processor_seconds(), _scale_sockets.sent(self.pids), _machine_seconds()
        took = self.units(case, count)
        busy, moved, all_busy = self._processor_seconds(), _scale_sockets.sent(self.pids), _machine_seconds()
        busy.subtract(before[0])
        moved.subtract(before[1])
        if min(moved.values()) < 0:
            raise RuntimeError(f"{case}: a connection between two processes was closed while its bytes were counted")
        settings, ours = self.settings.cases[case], self.ours
        return {
            "units": count,
            "seconds": took,
            "processor_seconds": {name: max(1 / TICKS, used) for name, used in busy.items()},  # the clock's least
            "bytes": [[*pair, number] for pair, number in sorted(moved.items())],
            "others_cores": max(0.0, (all_busy - before[2] - busy.total()) / took),
            "dense_bytes": [4 * variable.shape.num_elements() for variable in ours.dense[case].variables],
            "dense_copies": 1 + len(ours.optimizer.slots) if ours.trains_on_copies(settings) else settings.unrolled,
        }

    def rpcs(self, case: str, logs: Path) -> dict[str, Any]:
        """Calls between processes in ``COUNTED`` units a worker, from each one's log."""
        count = COUNTED * self.settings.setup.workers
        self.units(case, count)
        before = {name: (logs / f"{name}.log").stat().st_size for name in self.pids}
        self.units(case, count)
        found: Counter[tuple[str, str, str]] = Counter()
        for name, start in before.items():
            log = (logs / f"{name}.log").read_bytes()[start:].decode(errors="replace")
            for (to, method), number in _scale_rpcs.calls(log, self.addresses).items():
                found[name, to, method.rpartition("/")[2]] += number
        return {"units": count, "calls": [[*key, number] for key, number in sorted(found.items())]}

    def _processor_seconds(self) -> Counter[str]:
        """By process, of user and system, since its start (man 5 proc_pid_stat: fields 14 and 15)."""
        fields = {n: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for n, pid in self.pids.items()}
        return Counter({name: (int(values[11]) + int(values[12])) / TICKS for name, values in fields.items()})


def _machine_seconds() -> float:
    """That all processors of the machine were busy since its start: all but idle and iowait (man 5 proc_stat)."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def _stderr_to(log: Path) -> None:
    """gRPC's lines go to ``log``, Python's own errors still to this process's stderr."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr = os.fdopen(os.dup(2), "w")
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)


def main(what: str, told: str, seconds: str = "0") -> None:
    settings = Settings.read(told)
    size = ClusterSize(settings.setup.ps, settings.setup.workers)
    logs = Path(settings.folder) / f"servers_of_{os.getpid()}"
    if what == "rpcs":
        _stderr_to(logs / "coordinator.log")
    with LocalCluster(size, logs, threads=THREADS) as servers:
        turn = Turn(settings, servers)
        if what == "rpcs":
            found = {case: turn.rpcs(case, logs) for case in settings.cases}
        else:
            found = {case: turn.measure(case, float(seconds)) for case in settings.cases}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
