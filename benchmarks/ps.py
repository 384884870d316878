"""A parameter-server cluster beside one process, and both beside stock parts: `antiphon bench ps`.

26 features with Zipf-distributed ids, each with a million rows, fused into one table; an MLP over the 26 vectors;
Adagrad. The cluster is one parameter server and one worker (or `--ps`, `--workers`), processes of their own on this
machine. One process and the cluster take turns, after two turns each that are not counted; a ratio is the median of
the pairs' ratios. "Stock" is the same model with `Embedding`, `Adagrad` and `Model.fit`, under
`ParameterServerStrategy` and without.

`--parts` sets the cluster against itself with one part off or on instead, and lazy Adam against Adagrad.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import _machine, _ps_parts
from benchmarks._ps_race import race, write_examples
from benchmarks._ps_settings import Case, Settings, Setup

EXAMPLES = 61_440  # a whole number of calls in both cases
CASES = {"batch_512": (512, (1024, 512, 256), 20), "batch_64": (64, (64, 32), 20)}  # batch, MLP, steps unrolled
QUICK = {"batch_512": (64, (32,), 4), "batch_64": (16, (8,), 4)}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench ps", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", action="store_true", help="what each part gains, in place of cluster over process")
    parser.add_argument("--only", nargs="+", metavar="PART", help="with --parts: these, and optimizers by that name")
    parser.add_argument("--ps", type=int, default=1, help="parameter servers of the cluster (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="of the cluster (%(default)s)")
    parser.add_argument(
        "--working-set", default="auto", choices=("auto", "on", "off"), help="as train.working_set (%(default)s)"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of a feature's table (%(default)s)")
    parser.add_argument("--features", type=int, default=26, help="(%(default)s)")
    parser.add_argument("--width", type=int, default=16, help="of the tables (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of turns that count (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn, about (%(default)s)")
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="leave the stock parts out")
    parser.add_argument("--quick", action="store_true", help="tiny tables and models, a check that it runs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    known = [*_ps_parts.parts(options), _ps_parts.OPTIMIZERS]
    if unknown := [name for name in options.only or () if name not in known or not options.parts]:
        parser.error(f"--only is for --parts, which has {', '.join(known)}; got {unknown[0]!r}")
    if options.quick:
        options.rows, options.rounds, options.seconds = 1000, 1, 0.2
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    cases = {name: Case(*case) for name, case in (QUICK if options.quick else CASES).items()}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "examples.tfrecord")
        settings = Settings(cases, file, EXAMPLES, options.features, options.rows, options.width, folder)
        write_examples(settings, options.seed)
        figures = _ps_parts.measure(settings, options) if options.parts else compare(settings, options)
    told = {name: getattr(options, name) for name in ("rows", "ps", "workers")}
    print(json.dumps({"benchmark": "ps", **figures, **told, "machine": _machine.describe()}))
    return 0


def compare(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """The cluster over one process, for each case: of ours, and of stock parts."""
    figures: dict[str, Any] = {case: {} for case in settings.cases}
    setup = Setup(ps=options.ps, workers=options.workers, working_set=options.working_set)
    for kind in ["ours", "stock"] if options.stock else ["ours"]:
        entries = [(f"{kind}_single", setup), (f"{kind}_cluster", setup)]
        for case, found in race(kind, entries, settings, options).items():
            single, cluster = found.pop("examples_per_second")
            speeds = {"single_examples_per_second": single, "cluster_examples_per_second": cluster}
            figures[case][kind] = {**speeds, **found}
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
