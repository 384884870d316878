"""What the served log costs an answer: p50 and p99 with and without it, over gRPC and REST.

Two servers of one model run side by side, one with the log. Every client asks both in turn, request by request, so that
whatever else the machine does falls on both alike. Prints one JSON object on its last line: latencies, the median of
what the log adds within a pair, and the processor time of each server a request, which other work touches least.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import urllib3
from tqdm import tqdm

from benchmarks import _exported, _machine, serving
from feature_store import served_log
from feature_store.request_context import RequestContext
from serving.client import Client

_ROWS = re.compile(r':antiphon:serving:served_log_rows\{outcome="(\w+)"\} (\d+)')
SIDES = ("without", "with")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench served_log", description=__doc__)
    _exported.add(parser)
    parser.add_argument("--requests", type=int, default=2000, help="requests of each setting to each server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4], help="clients at once")
    options = parser.parse_args(argv)
    if min(options.requests, *options.clients) < 1:
        parser.error("--requests and --clients must be at least 1")
    try:
        model = _exported.version(options.model)
        histories = serving.read_histories(model)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(measure(model, histories, options.requests, options.clients)))
    return 0


def measure(model: Path, histories: list[list[str]], requests: int, clients: list[int]) -> dict[str, Any]:
    """Latency in milliseconds and processor time in microseconds a request, and what the log holds."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "served"
        flags = {"without": (), "with": (f"--served_log={folder}",)}
        servers = [stack.enter_context(serving.serve(model, *flags[side])) for side in SIDES]
        processes = [psutil.Process(int(server["pid"])) for server in servers]
        ways = [(way, count) for way in ("grpc", "rest") for count in clients]
        for way, count in tqdm(ways, desc="settings"):
            each = -(-requests // count)
            addresses = [server[way] for server in servers]
            _ask_in_turn(addresses, way == "rest", histories, count, serving.WARM)
            before = [sum(process.cpu_times()[:2]) for process in processes]
            seconds = _ask_in_turn(addresses, way == "rest", histories, count, each)  # (2, n)
            used = [sum(process.cpu_times()[:2]) - was for process, was in zip(processes, before, strict=True)]
            found[f"{way}_{count}"] = {
                **{side: _quantiles(taken) for side, taken in zip(SIDES, seconds, strict=True)},
                "median_added_ms": round(float(np.median(seconds[1] - seconds[0])) * 1e3, 4),
                "processor_us": {
                    side: round(cpu / seconds.shape[1] * 1e6, 1) for side, cpu in zip(SIDES, used, strict=True)
                },
            }
        page = urllib3.request("GET", f"http://{servers[1]['rest']}/monitoring/prometheus/metrics").data.decode()
        rows = {outcome: int(count) for outcome, count in _ROWS.findall(page)}
        size = sum(path.stat().st_size for path in served_log.segments(folder))
    return {
        "benchmark": "served_log",
        "machine": _machine.describe(),
        "requests": requests,
        "by_way_and_clients": found,
        "rows": rows,
        "bytes_a_row": round(size / max(rows.get("written", 0), 1), 1),
    }


def _quantiles(seconds: np.ndarray) -> dict[str, float]:
    return {f"p{q}_ms": round(float(np.percentile(seconds, q)) * 1e3, 3) for q in (50, 99)}


def _ask_in_turn(
    addresses: list[str], rest: bool, histories: list[list[str]], count: int, each: int
) -> np.ndarray:
    """Seconds (2, count · each) of `count` threads that ask the two servers in turn, the first one changing."""
    seconds = np.full((2, count, each), np.nan)
    failures: list[Exception] = []

    def work(thread: int) -> None:
        try:
            with ExitStack() as stack:
                clients = [
                    stack.enter_context(Client(address, serving.MODEL, rest=rest, timeout=60)) for address in addresses
                ]
                for number in range(each):
                    context = RequestContext((f"user {thread}-{number}",))
                    history = histories[(thread * each + number) % len(histories)]
                    for side in (0, 1) if number % 2 else (1, 0):
                        start = time.perf_counter()
                        clients[side].recommend([history], 1, context=context)
                        seconds[side, thread, number] = time.perf_counter() - start
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a client failed: {failures[0]}") from failures[0]
    return seconds.reshape(2, -1)


if __name__ == "__main__":
    raise SystemExit(main())
