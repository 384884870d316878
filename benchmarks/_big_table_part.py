"""One cluster of `antiphon bench big_table`: builds the table, or restores it, trains, and says what that took.

`python -m benchmarks._big_table_part train|restore <settings as JSON>`; the last line it prints is its figures as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from benchmarks._memory import PeakMemory
from trainer import checkpoint, optimizers
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.config import OptimizerConfig
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, uniform, zeros
from trainer.step import Step
from trainer.working_set import WorkingSet

FEATURES = 26
UNROLLED = 10  # steps of a call
SAMPLE = 20_000  # rows compared across the restore


@dataclass(frozen=True)
class Settings:
    rows: int
    width: int
    servers: int
    steps: int
    batch: int
    folder: str


class Model:
    """A table with Adagrad's accumulators and an MLP over ``FEATURES`` of its rows, on a cluster."""

    def __init__(self, settings: Settings, runtime: strategy.Runtime, fresh: bool) -> None:
        self.settings, self.runtime = settings, runtime
        self.optimizer = optimizers.build(OptimizerConfig("adagrad", 0.01))
        initial = uniform(0.05) if fresh else zeros()
        self.table = EmbeddingTable("big", settings.rows, settings.width, initial, 1, runtime.ps_devices)
        tf_keras.utils.set_random_seed(1)
        mlp = tf_keras.Sequential([tf_keras.layers.Dense(64, activation="relu"), tf_keras.layers.Dense(1)])
        mlp.build((None, FEATURES * settings.width))
        self.dense = FlatWeights(mlp, runtime.ps_devices)
        for part in (self.table, self.dense):
            for name, value in self.optimizer.slots.items():
                part.add_slot(name, value)
        self._unit = self._function(mlp)

    def train(self, first: int) -> np.ndarray:
        """The losses of ``steps`` steps, counted from ``first``."""
        starts = range(first, first + self.settings.steps, UNROLLED)
        results = [self.runtime.schedule(self._unit, (tf.constant(start, tf.int64),)) for start in starts]
        return np.concatenate([result.fetch() for result in results])

    def sample(self) -> np.ndarray:
        """Some rows and their accumulators: (SAMPLE, 2 · width)."""
        ids = np.unique(np.random.default_rng(0).integers(0, self.settings.rows, SAMPLE))
        split = self.table.split(tf.constant(ids))
        return np.concatenate([self.table.gather(split, slot=slot) for slot in ("", "accumulator")], axis=1)

    def _function(self, mlp: tf_keras.Model) -> Callable:
        settings, table, dense = self.settings, self.table, self.dense

        @tf.function(input_signature=[tf.TensorSpec((), tf.int64)])
        def unit(first: tf.Tensor) -> tf.Tensor:
            shape = (UNROLLED, settings.batch, FEATURES)
            ids = tf.random.stateless_uniform(shape, [first, 1], maxval=settings.rows, dtype=tf.int64)
            working = WorkingSet({table: tf.reshape(ids, (-1,))}, dense, self.optimizer, self.runtime.workers)
            losses = []
            for k in range(UNROLLED):
                with Step(first + k, dense, working) as step:
                    _, rows, (places,) = step.rows(table, ids[k])
                    with step.weights(dense):
                        inputs = tf.reshape(tf.gather(rows, places), (settings.batch, FEATURES * settings.width))
                        score = mlp(inputs)[:, 0]
                    label = tf.cast(ids[k, :, 0] % 2, tf.float32)
                    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label, score))
                step.update(loss, self.optimizer)
                losses.append(loss)
            working.push()
            return tf.stack(losses)

        return unit


def train(settings: Settings, runtime: strategy.Runtime) -> dict[str, Any]:
    """Builds the table, trains, leaves a checkpoint and a sample of the rows."""
    folder, clock = Path(settings.folder), Clock()
    model = Model(settings, runtime, fresh=True)
    clock.lap("build_seconds")
    losses = model.train(1)
    clock.lap("train_seconds")
    saved = checkpoint.save(folder, [model.table], model.dense, {"step": settings.steps})
    clock.lap("checkpoint_seconds")
    np.save(folder / "sample.npy", model.sample())
    size = sum(file.stat().st_size for file in saved.iterdir())
    return {**clock.laps, "loss": float(losses[-1]), "checkpoint_gib": round(size / 2**30, 3)}


def restore(settings: Settings, runtime: strategy.Runtime) -> dict[str, Any]:
    """Restores the checkpoint, compares the sample, trains on."""
    folder, clock = Path(settings.folder), Clock()
    model = Model(settings, runtime, fresh=False)
    clock.lap("build_seconds")
    state = checkpoint.restore(checkpoint.newest(folder), [model.table], model.dense)
    clock.lap("restore_seconds")
    equal = bool((np.load(folder / "sample.npy") == model.sample()).all())
    clock.lap("compare_seconds")
    losses = model.train(state["step"] + 1)
    clock.lap("train_seconds")
    return {**clock.laps, "loss": float(losses[-1]), "sample_equal": equal}


class Clock:
    """Seconds of one thing after the other."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What began at the last lap has ended."""
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 2), now


def main(part: str, text: str) -> None:
    settings = Settings(**json.loads(text))
    work = {"train": train, "restore": restore}[part]
    with LocalCluster(ClusterSize(settings.servers, 1), Path(settings.folder) / f"logs-{part}") as servers:
        runtime = strategy.connect(servers.tf_config)
        with PeakMemory({"coordinator": os.getpid(), **servers.pids}) as memory:
            found = work(settings, runtime)
            print(json.dumps({"servers": settings.servers, **found, "peak_gib": memory.gib()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
