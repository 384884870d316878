"""One contestant of `antiphon bench ps`: trains one way and times itself, a turn for each line on its input.

`python -m benchmarks._ps_contestant <kind> <settings as JSON>`; a line "<case> <steps>" is answered with the
seconds that many steps took, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from trainer import optimizers
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.cluster.work_queue import Shard, WorkQueue
from trainer.config import OptimizerConfig
from trainer.input import read_records
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, uniform
from trainer.step import Step
from trainer.working_set import WorkingSet

LEARNING_RATE = 0.01
ADAGRAD = OptimizerConfig("adagrad", LEARNING_RATE)


@dataclass(frozen=True)
class Case:
    """A batch size with the MLP over it and the steps unrolled in one call."""

    batch: int
    mlp: tuple[int, ...]
    unrolled: int


@dataclass(frozen=True)
class Settings:
    """What all contestants share."""

    cases: dict[str, Case]
    file: str
    examples: int
    features: int
    rows: int  # of each feature's table
    width: int
    folder: str

    @classmethod
    def read(cls, text: str) -> Settings:
        values = json.loads(text)
        cases = {n: Case(c["batch"], tuple(c["mlp"]), c["unrolled"]) for n, c in values.pop("cases").items()}
        return cls(cases=cases, **values)


def parse(serialized: tf.Tensor, settings: Settings) -> tuple[tf.Tensor, tf.Tensor]:
    """Serialized examples (n,) -> ids (n, features), labels (n,)."""
    parsed = tf.io.parse_example(
        serialized,
        {
            "ids": tf.io.FixedLenFeature((settings.features,), tf.int64),
            "label": tf.io.FixedLenFeature((), tf.float32),
        },
    )
    return parsed["ids"], parsed["label"]


def mlp(case: Case) -> tf_keras.Sequential:
    hidden = [tf_keras.layers.Dense(units, activation="relu") for units in case.mlp]
    return tf_keras.Sequential([*hidden, tf_keras.layers.Dense(1)])


class Ours:
    """Our step on a runtime: the same code in one process and on a cluster."""

    def __init__(self, settings: Settings, runtime: strategy.Runtime) -> None:
        self.settings, self.runtime = settings, runtime
        self.optimizer = optimizers.build(ADAGRAD)
        rows = settings.features * settings.rows
        self.table = EmbeddingTable("features", rows, settings.width, uniform(0.05), 0, runtime.ps_devices)
        for name, initial in self.optimizer.slots.items():
            self.table.add_slot(name, initial)
        self.first = 1
        self.functions = {name: self._function(case) for name, case in settings.cases.items()}
        self.queues = {
            name: WorkQueue([Shard(settings.file, settings.examples)], case.batch * case.unrolled, seed=1)
            for name, case in settings.cases.items()
        }

    def run(self, case: str, steps: int) -> float:
        """Seconds that ``steps`` steps take."""
        start = time.perf_counter()
        queue, unrolled = self.queues[case], self.settings.cases[case].unrolled
        for _ in range(steps // unrolled):
            unit = queue.take()
            if unit is None:
                queue.next_epoch()
                unit = queue.take()
            queue.done(unit)
            arguments = [tf.constant(array) for array in unit.arguments()[:3]]
            self.runtime.schedule(self.functions[case], (*arguments, tf.constant(self.first, tf.int64)))
            self.first += unrolled
        self.runtime.join()
        return time.perf_counter() - start

    def _function(self, case: Case) -> Callable:
        settings, batch = self.settings, case.batch
        model = mlp(case)
        inputs = settings.features * settings.width
        model.build((None, inputs))
        dense = FlatWeights(model, self.runtime.ps_devices)
        for name, initial in self.optimizer.slots.items():
            dense.add_slot(name, initial)
        pieces = tf.TensorSpec((None,), tf.int64)

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string), pieces, pieces, tf.TensorSpec((), tf.int64)]
        )
        def unit(files, firsts, counts, first):
            ids, labels = parse(read_records(files, firsts, counts), settings)
            losses, working = [], None
            if self.runtime.workers == 1 and self.runtime.ps_devices != [None]:
                working = WorkingSet({self.table: tf.reshape(ids, (-1,))}, dense, self.optimizer, 1)
            for k in range(case.unrolled):
                rows_k = slice(k * batch, (k + 1) * batch)
                with Step(first + k, dense, working) as step:
                    _, rows, (places,) = step.rows(self.table, ids[rows_k])
                    with step.weights(dense):
                        score = model(tf.reshape(tf.gather(rows, places), (batch, inputs)))[:, 0]
                    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels[rows_k], score)
                    loss = tf.reduce_mean(loss)
                step.update(loss, self.optimizer)
                losses.append(loss)
            if working is not None:
                working.push()
            return tf.stack(losses)

        return unit


class Stock:
    """The same model with TensorFlow's and Keras's own parts: ``Embedding``, ``Adagrad``, ``Model.fit``."""

    def __init__(self, settings: Settings, scope: tf.distribute.Strategy | None) -> None:
        self.settings, self.scope = settings, scope
        with ExitStack() as stack:
            if scope is not None:
                stack.enter_context(scope.scope())
            embedding = tf_keras.layers.Embedding(settings.features * settings.rows, settings.width)
            self.models = {name: self._model(case, embedding) for name, case in settings.cases.items()}

    def run(self, case: str, steps: int) -> float:
        """Seconds that ``steps`` steps take, in the second of two epochs: the first pays for the call."""
        starts: list[float] = []
        clock = tf_keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter())
        )
        dataset: Any = self._dataset(case)
        if self.scope is not None:
            dataset = tf_keras.utils.experimental.DatasetCreator(lambda context: self._dataset(case))
        self.models[case].fit(dataset, steps_per_epoch=steps, epochs=2, verbose=0, callbacks=[clock])
        return time.perf_counter() - starts[1]

    def _model(self, case: Case, embedding: tf_keras.layers.Embedding) -> tf_keras.Model:
        ids = tf_keras.Input((self.settings.features,), dtype=tf.int64)
        model = tf_keras.Model(ids, mlp(case)(tf_keras.layers.Flatten()(embedding(ids))))
        model.compile(
            tf_keras.optimizers.Adagrad(LEARNING_RATE),
            tf_keras.losses.BinaryCrossentropy(from_logits=True),
        )
        return model

    def _dataset(self, case: str) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(self.settings.file).repeat()
        records = records.batch(self.settings.cases[case].batch, drop_remainder=True)
        return records.map(lambda serialized: parse(serialized, self.settings)).prefetch(tf.data.AUTOTUNE)


def contestant(kind: str, settings: Settings, stack: ExitStack) -> Ours | Stock:
    cluster = None
    if kind.endswith("cluster"):
        servers = stack.enter_context(LocalCluster(ClusterSize(), Path(settings.folder) / kind))
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
