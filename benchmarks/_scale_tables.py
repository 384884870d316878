"""What `antiphon bench scale` prints for people: a table of this machine's clusters and one of larger ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks._scale_model import Hardware


def show(found: Mapping[str, Mapping[str, Any]], hardware: Hardware) -> None:
    """The figures as two tables."""
    print("\nOn this machine, a step; predicted from one worker alone on one server (its own error is 0 by that)")
    print(
        f"{'case':<14}{'workers':>8}{'servers':>8}{'examples/s':>12}{'predicted':>11}{'error':>8}"
        f"{'worker':>10}{'server':>10}{'coord.':>10}{'down':>10}{'up':>10}{'RPCs':>7}{'others':>8}"
    )
    for case, told in found.items():
        for run in told["here"]:
            ways = [_moved(run["bytes"], *ends) for ends in (("ps", "worker"), ("worker", "ps"))]
            columns = [f"{1e3 * run['processor_seconds'][role]:7.2f} ms" for role in run["processor_seconds"]]
            columns += [f"{n / run['servers'] / 1e3:7,.0f} kB" for n in ways]
            print(
                f"{case:<14}{run['workers']:>8}{run['servers']:>8}{run['examples_per_second']:>12,}"
                f"{run['predicted_examples_per_second']:>11,}{run['error']:>+8.0%}{''.join(columns)}"
                f"{run['rpcs_a_worker_and_server']:>7.2f}{run['others_cores']:>8.2f}"
            )
    print("worker, server, coord.: processor time of a step, all of the role together; down, up: bytes from and to a")
    print("server in a step; RPCs: of a step, between a worker and a server; others: cores that other work kept busy")
    print(
        f"\nOn machines of their own: {hardware.worker_cores} cores a worker, {hardware.server_cores} a server, "
        f"{hardware.gigabits:g} Gbit/s, {hardware.round_trip_ms:g} ms a round trip"
    )
    print(
        f"{'case':<14}{'cluster':>9}{'examples/s':>13}  {'limit':<19}{'busiest':>25}  "
        "workers a server feeds; gains of twice the"
    )
    for case, told in found.items():
        for cluster, run in told["predicted"].items():
            workers, _, servers, _ = cluster.split("_")
            gains = ", ".join(f"{lever} {gain:.2f}" for lever, gain in run["twice"].items())
            busiest = f"{run['bottleneck']} {run['busy']:.0%}"
            print(
                f"{case:<14}{workers + ' + ' + servers:>9}{run['examples_per_second']:>13,}  {run['limit']:<19}"
                f"{busiest:>25}  {run['workers_fed']:.1f}; {gains}"
            )


def _moved(by_pair: Mapping[str, float], sender: str, receiver: str) -> float:
    """Bytes from processes of one role to those of another."""
    ends = {pair: pair.split(" to ") for pair in by_pair}
    return sum(by_pair[pair] for pair, (a, b) in ends.items() if a.startswith(sender) and b.startswith(receiver))
