"""Our contestant of `antiphon bench ps`, whose parts can each be switched off or on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import tensorflow as tf

from benchmarks._ps_model import LEARNING_RATE, mlp, parse
from benchmarks._ps_settings import Case, Settings
from trainer import optimizers
from trainer.cluster import strategy
from trainer.cluster.work_queue import Shard, WorkQueue
from trainer.config import OptimizerConfig
from trainer.input import read_records
from trainer.layers.features import Feature, FeatureTables
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, uniform
from trainer.read_ahead import Ahead, read_ahead
from trainer.step import Step
from trainer.working_set import WorkingSet


class EveryOccurrence(Step):
    """Reads a row, and sends its gradient, once for every time its id occurs."""

    def distinct(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return ids, tf.range(tf.size(ids))


class Ours:
    """Our step on a runtime: the same code in one process and on a cluster."""

    def __init__(self, settings: Settings, runtime: strategy.Runtime) -> None:
        self.settings, self.setup, self.runtime = settings, settings.setup, runtime
        self.wire = tf.as_dtype(self.setup.wire)
        self.optimizer = optimizers.build(OptimizerConfig(self.setup.optimizer, LEARNING_RATE))
        features = [Feature(f"f{i}", settings.rows, settings.width) for i in range(settings.features)]
        groups = [features] if self.setup.fused else [[feature] for feature in features]
        self.features = [
            FeatureTables(group, uniform(0.05), 0, runtime.ps_devices, self.setup.spread, group[0].name)
            for group in groups
        ]
        self.models = {name: mlp(case) for name, case in settings.cases.items()}
        for model in self.models.values():
            model.build((None, settings.features * settings.width))
        self.dense = {name: FlatWeights(model, runtime.ps_devices) for name, model in self.models.items()}
        tables = [table for part in self.features for table in part.tables]
        self.optimizer.add_slots(tables, *self.dense.values())
        self.first = 1
        self.functions = {name: self._function(name, case) for name, case in settings.cases.items()}
        self.queues = {
            name: WorkQueue([Shard(settings.file, settings.examples)], case.batch * self._unrolled(case), seed=1)
            for name, case in settings.cases.items()
        }

    def run(self, case: str, steps: int) -> float:
        """Seconds that ``steps`` steps take."""
        start = time.perf_counter()
        queue, unrolled = self.queues[case], self._unrolled(self.settings.cases[case])
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

    def trains_on_copies(self, case: Case) -> bool:
        """Whether a worker trains a call's steps on its own copies of what they touch."""
        setup = replace(self.setup, working_set=case.working_set or self.setup.working_set)
        return setup.local(self.runtime.ps_devices != [None])

    def _unrolled(self, case: Case) -> int:
        return case.unrolled if self.setup.unrolled else 1

    def _function(self, name: str, case: Case) -> Callable:
        settings, setup, batch = self.settings, self.setup, case.batch
        model, dense = self.models[name], self.dense[name]
        kind = Step if setup.unique else EveryOccurrence
        local = self.trains_on_copies(case)
        pieces = tf.TensorSpec((None,), tf.int64)

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string), pieces, pieces, tf.TensorSpec((), tf.int64)]
        )
        def unit(files, firsts, counts, first):
            ids, labels = parse(read_records(files, firsts, counts), settings)
            batches = [slice(k * batch, (k + 1) * batch) for k in range(self._unrolled(case))]
            losses, working, ahead = [], None, None
            if local:
                touched = self._touched(ids)
                working = WorkingSet(touched, dense, self.optimizer, self.runtime.workers, self.wire)
            if setup.prefetch:
                ahead = self._ahead(ids[batches[0]])
            for k, rows in enumerate(batches):
                following = self._ahead(ids[batches[k + 1]]) if setup.prefetch and k + 1 < len(batches) else None
                with kind(first + k, dense, working, self.wire, ahead) as step:
                    vectors = self._vectors(step, ids[rows])
                    with step.weights(dense):
                        score = model(vectors)[:, 0]
                    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels[rows], score)
                    loss = tf.reduce_mean(loss)
                step.update(loss, self.optimizer)
                losses.append(loss)
                ahead = following
            if working is not None:
                working.push()
            return tf.stack(losses)

        return unit

    def _by_feature(self, ids: tf.Tensor) -> list[dict[str, tf.Tensor]]:
        """ids (n, features) -> for each of ``self.features``, its own by name."""
        columns = iter(tf.unstack(ids, self.settings.features, axis=1))
        return [{name: next(columns) for name in features.features} for features in self.features]

    def _touched(self, ids: tf.Tensor) -> dict[EmbeddingTable, tf.Tensor]:
        found: dict[EmbeddingTable, tf.Tensor] = {}
        for features, own in zip(self.features, self._by_feature(ids), strict=True):
            found |= features.touched(own)
        return found

    def _ahead(self, ids: tf.Tensor) -> Ahead:
        return read_ahead(self._touched(ids), self.wire)

    def _vectors(self, step: Step, ids: tf.Tensor) -> tf.Tensor:
        """ids (n, features) -> (n, features · width)."""
        vectors: list[tf.Tensor] = []
        for features, own in zip(self.features, self._by_feature(ids), strict=True):
            vectors += features.lookup(step, own).values()
        return tf.concat(vectors, axis=1)
