"""A table that no process holds: trained, checkpointed, restored on fewer servers: `antiphon bench big_table`.

50 million rows of width 16 with Adagrad's accumulators, over four parameter servers; one worker trains an MLP over
26 rows an example, ids uniform over the table. Then everything is ended, and the checkpoint is restored on a cluster
of three servers, compared and trained on. Beside the seconds it prints the most memory each process ever had:
`resident` as the kernel counts it, pages of mapped files included, and `own` without them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from benchmarks import _machine, _part

BYTES = 4  # of a float32


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench big_table", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000_000, help="of the table (%(default)s)")
    parser.add_argument("--width", type=int, default=16, help="of the table (%(default)s)")
    parser.add_argument("--servers", type=int, default=4, help="that train (%(default)s)")
    parser.add_argument("--servers-after", type=int, default=3, help="that it is restored on (%(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="on each cluster (%(default)s)")
    parser.add_argument("--batch", type=int, default=512, help="(%(default)s)")
    parser.add_argument("--folder", type=Path, help="for the checkpoint, 8 bytes a value (a temporary one)")
    parser.add_argument("--quick", action="store_true", help="a tiny table, a check that it runs")
    options = parser.parse_args(argv)
    if options.quick:
        options.rows, options.steps, options.batch = 200_000, 20, 32
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shared = {"rows": options.rows, "width": options.width, "steps": options.steps, "batch": options.batch}
        parts = {"train": options.servers, "restore": options.servers_after}
        found = {}
        for part, servers in tqdm(parts.items(), desc="clusters"):
            told = {**shared, "servers": servers, "folder": str(folder.resolve())}
            found[part] = _part.run("_big_table_part", part, json.dumps(told))
    table = options.rows * options.width * BYTES / 2**30
    peaks = [peak["own"] for part in found.values() for peak in part["peak_gib"].values()]
    figures = {
        "table_gib": round(table, 3),
        "with_slots_gib": round(2 * table, 3),
        "largest_process_own_gib": max(peaks),
        **found,
    }
    print(json.dumps({"benchmark": "big_table", "rows": options.rows, **figures, "machine": _machine.describe()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
