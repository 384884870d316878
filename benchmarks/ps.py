"""A parameter-server cluster beside one process, and both beside stock parts: `antiphon bench ps`.

26 features with Zipf-distributed ids, each with a table of a million rows, fused into one table; an MLP over
the 26 vectors; Adagrad. The cluster is one parameter server and one worker, processes of their own on this
machine. One process and the cluster take turns, after two turns each that are not counted; a ratio is the
median of the pairs' ratios. "Stock" is the same model with `Embedding`, `Adagrad` and `Model.fit`, under
`ParameterServerStrategy` and without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import _machine
from trainer.cluster.launcher import MALLOC

EXAMPLES = 61_440  # a whole number of calls in both cases
ZIPF = 1.05  # an id of rank r is drawn with probability ∝ r^-1.05
CASES = {
    "batch_512": {"batch": 512, "mlp": (1024, 512, 256), "unrolled": 20},
    "batch_64": {"batch": 64, "mlp": (64, 32), "unrolled": 20},
}
QUICK = {
    "batch_512": {"batch": 64, "mlp": (32,), "unrolled": 4},
    "batch_64": {"batch": 16, "mlp": (8,), "unrolled": 4},
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench ps", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of a feature's table (%(default)s)")
    parser.add_argument("--features", type=int, default=26, help="(%(default)s)")
    parser.add_argument("--width", type=int, default=16, help="of the tables (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of turns that count (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn, about (%(default)s)")
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="leave the stock parts out")
    parser.add_argument("--quick", action="store_true", help="tiny tables and models, a check that it runs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.quick:
        options.rows, options.rounds, options.seconds = 1000, 1, 0.2
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    cases = QUICK if options.quick else CASES
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "examples.tfrecord"
        write_examples(file, options)
        settings = {
            "cases": cases,
            "file": str(file),
            "examples": EXAMPLES,
            "features": options.features,
            "rows": options.rows,
            "width": options.width,
            "folder": name,
        }
        figures: dict[str, Any] = {case: {} for case in cases}
        for kind in ["ours", "stock"] if options.stock else ["ours"]:
            for case, found in race(kind, settings, options).items():
                figures[case][kind] = found
    print(json.dumps({"benchmark": "ps", **figures, "rows": options.rows, "machine": _machine.describe()}))
    return 0


def race(kind: str, settings: dict[str, Any], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Examples a second of one process and of the cluster, and the ratio, for each case."""
    figures = {}
    with ExitStack() as stack:
        kinds = (f"{kind}_single", f"{kind}_cluster")
        pair = [stack.enter_context(Contestant(name, settings)) for name in kinds]
        for contestant in tqdm(pair, desc=f"{kind}: building the tables"):
            contestant.wait_until_ready()
        for case, case_settings in settings["cases"].items():
            steps = [_steps(contestant, case, case_settings, options.seconds) for contestant in pair]
            speeds: list[list[float]] = [[], []]
            for _ in tqdm(range(options.rounds), desc=f"{kind}, {case}"):
                for contestant, count, found in zip(pair, steps, speeds, strict=True):
                    found.append(count * case_settings["batch"] / contestant.run(case, count))
            ratios = [cluster / single for single, cluster in zip(*speeds, strict=True)]
            figures[case] = {
                "single_examples_per_second": round(statistics.median(speeds[0])),
                "cluster_examples_per_second": round(statistics.median(speeds[1])),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            }
    return figures


class Contestant:
    """A process that trains one way, a turn at a time."""

    def __init__(self, kind: str, settings: dict[str, Any]) -> None:
        self.kind, self.settings = kind, settings

    def __enter__(self) -> Contestant:
        environment = {
            **os.environ,
            "TF_USE_LEGACY_KERAS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "GLIBC_TUNABLES": MALLOC,  # as the cluster's servers have it
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self._log = open(Path(self.settings["folder"]) / f"{self.kind}.log", "w+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._ps_contestant", self.kind, json.dumps(self.settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def wait_until_ready(self) -> None:
        self._answer()

    def run(self, case: str, steps: int) -> float:
        """Trains ``steps`` steps; returns the seconds they took."""
        self._process.stdin.write(f"{case} {steps}\n")
        self._process.stdin.flush()
        return self._answer()["seconds"]

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            tail = self._log.read()[-3000:].decode(errors="replace")
            raise RuntimeError(f"{self.kind} ended with code {self._process.wait()}:\n{tail}")
        return json.loads(line)


def _steps(contestant: Contestant, case: str, settings: dict[str, Any], seconds: float) -> int:
    """Steps of a turn of about ``seconds``, a whole number of calls; the two turns it takes also warm up."""
    unrolled = settings["unrolled"]
    contestant.run(case, 2 * unrolled)
    step = contestant.run(case, 4 * unrolled) / (4 * unrolled)
    return unrolled * max(2, round(seconds / step / unrolled))


def write_examples(file: Path, options: argparse.Namespace) -> None:
    """Examples of ids (features,) and a label. Popular ids are scattered over their table, as if hashed."""
    import tensorflow as tf

    random = np.random.default_rng(options.seed)
    cumulative = np.cumsum(np.arange(1, options.rows + 1) ** -ZIPF)
    labels = random.random(EXAMPLES) < 0.25
    columns = []
    for feature in range(options.features):
        rank = np.searchsorted(cumulative, random.random(EXAMPLES) * cumulative[-1])
        columns.append(random.permutation(options.rows)[rank] + feature * options.rows)
    ids = np.stack(columns, axis=1)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for row, label in tqdm(zip(ids, labels, strict=True), total=EXAMPLES, desc="writing examples"):
            features = {
                "ids": tf.train.Feature(int64_list=tf.train.Int64List(value=row)),
                "label": tf.train.Feature(float_list=tf.train.FloatList(value=[float(label)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
