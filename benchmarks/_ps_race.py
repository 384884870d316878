"""Contestants of `antiphon bench ps` taking turns, and the examples they train on."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import _part
from benchmarks._ps_settings import Settings, Setup

ZIPF = 1.05  # an id of rank r is drawn with probability ∝ r^-1.05
Entry = tuple[str, Setup]
"""A contestant's kind and how it trains."""


def race(
    title: str, entries: Sequence[Entry], settings: Settings, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Two contestants take turns; for each case the examples a second of each, and the second's over the first's.

    Two turns each are not counted; a ratio is the median of the pairs' ratios.
    """
    figures = {}
    with ExitStack() as stack:
        pair = [stack.enter_context(Contestant(kind, settings, setup)) for kind, setup in entries]
        for contestant in tqdm(pair, desc=f"{title}: building the tables"):
            contestant.wait_until_ready()
        for name, case in settings.cases.items():
            steps = [_steps(contestant, name, case.unrolled, options.seconds) for contestant in pair]
            speeds: list[list[float]] = [[], []]
            for _ in tqdm(range(options.rounds), desc=f"{title}, {name}"):
                for contestant, count, found in zip(pair, steps, speeds, strict=True):
                    found.append(count * case.batch / contestant.run(name, count))
            ratios = [second / first for first, second in zip(*speeds, strict=True)]
            figures[name] = {
                "examples_per_second": [round(statistics.median(found)) for found in speeds],
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            }
    return figures


class Contestant:
    """A process that trains one way, a turn at a time."""

    def __init__(self, kind: str, settings: Settings, setup: Setup) -> None:
        self.kind, self._settings, self._setup = kind, settings, setup

    def __enter__(self) -> Contestant:
        told = json.dumps({**asdict(self._settings), "setup": asdict(self._setup)})
        self._log = tempfile.TemporaryFile(dir=self._settings.folder)  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._ps_contestant", self.kind, told],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=_part.environment(),
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


def _steps(contestant: Contestant, case: str, unrolled: int, seconds: float) -> int:
    """Steps of a turn of about ``seconds``, a whole number of calls; the two turns it takes also warm up."""
    contestant.run(case, 2 * unrolled)
    step = contestant.run(case, 4 * unrolled) / (4 * unrolled)
    return unrolled * max(2, round(seconds / step / unrolled))


def write_examples(settings: Settings, seed: int, every: int = 0) -> None:
    """Examples of ids (features,) and a label, at ``settings.file``.

    Popular ids are scattered over their table, as if hashed; with ``every`` n, the multiples of n come first in
    popularity: on n servers that hold row i on server i mod n, one gets nearly all reads.
    """
    import tensorflow as tf

    random = np.random.default_rng(seed)
    cumulative = np.cumsum(np.arange(1, settings.rows + 1) ** -ZIPF)
    labels = random.random(settings.examples) < 0.25
    columns = []
    for _ in range(settings.features):
        rank = np.searchsorted(cumulative, random.random(settings.examples) * cumulative[-1])
        by_rank = random.permutation(settings.rows)
        if every:
            by_rank = np.argsort(np.arange(settings.rows) % every, kind="stable")
        columns.append(by_rank[rank])
    ids = np.stack(columns, axis=1)
    with tf.io.TFRecordWriter(settings.file) as writer:
        for row, label in tqdm(zip(ids, labels, strict=True), total=len(ids), desc="writing examples"):
            features = {
                "ids": tf.train.Feature(int64_list=tf.train.Int64List(value=row)),
                "label": tf.train.Feature(float_list=tf.train.FloatList(value=[float(label)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
