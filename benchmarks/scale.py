"""Scale on paper: a queueing model of the cluster, checked here, asked about larger ones: `antiphon bench scale`.

The model of `antiphon bench ps` trains on clusters of this machine, one server with 1 to 4 workers and two servers with
1 and 2, with the working set on and off. Measured by unit of work: seconds, each process's processor seconds, the bytes
on every connection (the kernel's counters), and in runs of their own the RPCs between processes (gRPC's trace).

What one worker takes alone is put into a closed queueing network (`_scale_model.py`), solved by mean value analysis. It
is first asked about the other clusters of this machine, where all processes share the cores, then about 10 workers with
2 servers and 100 with 20, every process on a machine of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import _machine, _part, _scale_rpcs, ps
from benchmarks._ps_race import write_examples
from benchmarks._ps_settings import Case, Settings, Setup
from benchmarks._scale_model import Calls, Demands, Hardware, Prediction, shared_machine
from benchmarks._scale_tables import show
from benchmarks._scale_turns import Taken, between_workers_and_servers

PREDICTED = ((10, 2), (100, 20))  # workers, servers
ROWS_WHILE_COUNTING = 1000  # of a table: the number of calls is the same whatever its size
EXAMPLES_WHILE_COUNTING = 20_480


def parse(argv: Sequence[str]) -> argparse.Namespace:
    hardware = Hardware()
    parser = argparse.ArgumentParser(prog="antiphon bench scale", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=4, help="most of them on one server (%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of a feature's table (%(default)s)")
    parser.add_argument("--features", type=int, default=26, help="(%(default)s)")
    parser.add_argument("--width", type=int, default=16, help="of the tables (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a turn, about (%(default)s)")
    machines = parser.add_argument_group("the machines of the larger clusters")
    told = "cores of a {}, over which its work is taken to share out evenly (%(default)s)"
    machines.add_argument("--worker-cores", type=int, default=hardware.worker_cores, help=told.format("worker"))
    told = "cores of a server, each of which answers one worker at a time (%(default)s)"
    machines.add_argument("--server-cores", type=int, default=hardware.server_cores, help=told)
    told = "bits a second of a server's link, each way, in units of 10⁹ (%(default)s)"
    machines.add_argument("--gigabits", type=float, default=hardware.gigabits, help=told)
    told = "milliseconds of an empty RPC there and back (%(default)s)"
    machines.add_argument("--round-trip-ms", type=float, default=hardware.round_trip_ms, help=told)
    parser.add_argument("--quick", action="store_true", help="a tiny table and model, a check that it runs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.quick:
        options.rows, options.features, options.seconds, options.workers = 1000, 4, 0.2, min(2, options.workers)
    options.examples = EXAMPLES_WHILE_COUNTING if options.quick else ps.EXAMPLES
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    cases = with_working_set_on_and_off({"batch_64": ps.QUICK["batch_64"]} if options.quick else ps.CASES)
    clusters = [(workers, 1) for workers in range(1, options.workers + 1)] + [(1, 2)]
    clusters += [] if options.quick else [(2, 2)]
    hardware = Hardware(options.worker_cores, options.server_cores, options.gigabits, options.round_trip_ms)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "examples.tfrecord")
        settings = Settings(cases, file, options.examples, options.features, options.rows, options.width, folder)
        calls = count(settings, options.seed)
        taken = measure(settings, clusters, options)
    demands = Demands.of(cases, taken[1, 1], taken[1, 2], calls)
    machine = _machine.describe()
    found = {name: figures(name, demands[name], taken, machine["cores"], hardware) for name in cases}
    show(found, hardware)
    told = {"rows": options.rows, "hardware": asdict(hardware), "machine": machine}
    print(json.dumps({"benchmark": "scale", "cases": found, **told}))
    return 0


def with_working_set_on_and_off(cases: Mapping[str, tuple]) -> dict[str, Case]:
    """Each case twice, as "<case>_on" and "<case>_off"."""
    return {f"{name}_{mode}": Case(*case, mode) for name, case in cases.items() for mode in ("on", "off")}


def count(settings: Settings, seed: int) -> dict[str, Calls]:
    """RPCs of a unit between one worker and one server, and two, by case."""
    few = replace(
        settings, rows=ROWS_WHILE_COUNTING, examples=EXAMPLES_WHILE_COUNTING, file=f"{settings.file}_counting"
    )
    write_examples(few, seed)

    def told(servers: int) -> dict[str, Any]:
        setup = replace(few, setup=Setup(ps=servers))
        return _part.run("_scale_cluster", "rpcs", json.dumps(asdict(setup)), extra=_scale_rpcs.TRACED)

    with ThreadPoolExecutor() as pool:
        one, two = tqdm(pool.map(told, (1, 2)), total=2, desc="counting calls")
    return {
        case: Calls.between(between_workers_and_servers(one[case]), between_workers_and_servers(two[case]))
        for case in settings.cases
    }


def measure(
    settings: Settings, clusters: Sequence[tuple[int, int]], options: argparse.Namespace
) -> dict[tuple[int, int], dict[str, Taken]]:
    """(workers, servers) -> by case, what a unit took there."""
    write_examples(settings, options.seed)
    found = {}
    for workers, servers in tqdm(clusters, desc="clusters"):
        told = replace(settings, setup=Setup(ps=servers, workers=workers))
        figures = _part.run("_scale_cluster", "measure", json.dumps(asdict(told)), str(options.seconds))
        found[workers, servers] = {case: Taken.read(figures[case], workers, servers) for case in settings.cases}
    return found


def figures(
    name: str,
    demands: Demands,
    taken: Mapping[tuple[int, int], Mapping[str, Taken]],
    cores: int,
    hardware: Hardware,
) -> dict[str, Any]:
    """Of one case: what was measured beside what the model says of this machine, and what it says of larger ones."""
    case, runs = demands.case, []
    for (workers, servers), by_case in taken.items():
        measured = by_case[name].by_step(case)
        speed = shared_machine(demands, servers, cores).throughput(workers)[-1] * demands.examples
        runs.append(
            {
                **measured,
                "predicted_examples_per_second": round(speed),
                "error": round(speed / measured["examples_per_second"] - 1, 3),
                "rpcs_a_worker_and_server": round(demands.calls.total(servers) / servers / case.unrolled, 2),
                "predicted_bytes": [[round(n / case.unrolled) for n in ways] for ways in demands.bytes_of(servers)],
            }
        )
    larger = {}
    for workers, servers in PREDICTED:
        told = asdict(Prediction.of(demands, workers, servers, hardware))
        told["twice"] = {lever: round(gain, 2) for lever, gain in told["twice"].items()}
        larger[f"{workers}_workers_{servers}_servers"] = {
            **told,
            "examples_per_second": round(told["examples_per_second"]),
            "busy": round(told["busy"], 2),
            "workers_fed": round(told["workers_fed"], 1),
        }
    return {
        "batch": case.batch,
        "steps_a_unit": case.unrolled,
        "server_call_microseconds": round(1e6 * demands.server_call),
        "worker_call_microseconds": round(1e6 * demands.worker_call),
        "here": runs,
        "predicted": larger,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
