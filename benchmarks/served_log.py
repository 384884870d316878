"""What the served log costs an answer: p50 and p99 with and without it, over gRPC and REST.

Two servers of one model run side by side, one with the log. They are asked in turn, `--rounds` times, in an order that
changes from round to round. Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from tqdm import tqdm

from benchmarks import _machine, serving
from feature_store import served_log

_ROWS = re.compile(r':antiphon:serving:served_log_rows\{outcome="(\w+)"\} (\d+)')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench served_log", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel version folder with warmup requests")
    parser.add_argument("--requests", type=int, default=1000, help="requests of each setting in each round")
    parser.add_argument("--rounds", type=int, default=6, help="how often each setting is measured")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4], help="clients at once")
    options = parser.parse_args(argv)
    if min(options.requests, options.rounds, *options.clients) < 1:
        parser.error("--requests, --rounds and --clients must be at least 1")
    try:
        histories = serving.read_histories(options.model)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(measure(options.model, histories, options.requests, options.rounds, options.clients)))
    return 0


def measure(
    model: Path, histories: list[list[str]], requests: int, rounds: int, clients: list[int]
) -> dict[str, Any]:
    """Latency in milliseconds with and without the log, their ratios, and what the log holds."""
    seconds: dict[tuple[str, int, str], list[np.ndarray]] = {}
    ways = [(way, count) for way in ("grpc", "rest") for count in clients]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "served"
        servers = {
            "without": stack.enter_context(serving.serve(model)),
            "with": stack.enter_context(serving.serve(model, f"--served_log={folder}")),
        }
        bar = stack.enter_context(tqdm(total=rounds * len(ways) * 2, desc="settings"))
        for number in range(rounds):
            for way, count in ways:
                for side in list(servers)[:: 1 if number % 2 else -1]:
                    each = -(-requests // count)
                    taken, _ = serving.ask_in_processes(servers[side][way], way == "rest", histories, count, each)
                    seconds.setdefault((way, count, side), []).append(taken)
                    bar.update()
        page = urllib3.request("GET", f"http://{servers['with']['rest']}/monitoring/prometheus/metrics").data.decode()
        rows = {outcome: int(found) for outcome, found in _ROWS.findall(page)}
        bytes_of_log = sum(path.stat().st_size for path in served_log.segments(folder))
    latency = {
        f"{way}_{count}": {
            side: {
                f"p{q}_ms": round(float(np.percentile(np.concatenate(seconds[way, count, side]), q)) * 1e3, 3)
                for q in (50, 99)
            }
            for side in ("without", "with")
        }
        for way, count in ways
    }
    return {
        "benchmark": "served_log",
        "machine": _machine.describe(),
        "requests": requests,
        "rounds": rounds,
        "latency_by_way_and_clients": latency,
        "with_over_without": {
            way: {name: round(sides["with"][name] / sides["without"][name], 3) for name in sides["with"]}
            for way, sides in latency.items()
        },
        "rows": rows,
        "bytes_a_row": round(bytes_of_log / max(rows.get("written", 0), 1), 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
