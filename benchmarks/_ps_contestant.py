"""One contestant of `antiphon bench ps`: trains one way and times itself, a turn for each line on its input.

`python -m benchmarks._ps_contestant <kind> <settings as JSON>`; a line "<case> <steps>" is answered with the
seconds that many steps took, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks._ps_ours import Ours
from benchmarks._ps_settings import Settings
from benchmarks._ps_stock import Stock
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster


def contestant(kind: str, settings: Settings, stack: ExitStack) -> Ours | Stock:
    """``kind`` is "ours_single", "ours_cluster", "stock_single" or "stock_cluster"."""
    cluster = None
    if kind.endswith("cluster"):
        size = ClusterSize(settings.setup.ps, settings.setup.workers)
        servers = stack.enter_context(LocalCluster(size, Path(settings.folder) / f"servers_of_{os.getpid()}"))
        cluster = strategy.connect(servers.tf_config)
    if kind.startswith("ours"):
        return Ours(settings, cluster or strategy.InProcess())
    return Stock(settings, cluster.coordinator.strategy if cluster else None)


def main(kind: str, settings: str) -> None:
    with ExitStack() as stack:
        racer = contestant(kind, Settings.read(settings), stack)
        print(json.dumps({"ready": kind}), flush=True)
        for line in sys.stdin:
            case, steps = line.split()
            print(json.dumps({"seconds": racer.run(case, int(steps))}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main(*sys.argv[1:])
