"""Full ranking spread over a cluster's workers, and merged by the coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable

import tensorflow as tf

from trainer.cluster.strategy import Runtime
from trainer.cluster.work_queue import in_order
from trainer.input import PIECES, Examples, held_out_rows, read_records
from trainer.ranking import LocalRanking, Outcomes, Ranking, places
from trainer.reader import Reader, StoredReader
from trainer.recommender import Recommender
from trainer.unit import CLIENT


def ranking(
    runtime: Runtime,
    examples: Examples,
    recommender: Recommender,
    slot: str = "",
    batch: int = 1024,
    keep: bool = False,
    reader: Reader | StoredReader | None = None,
) -> Ranking:
    """Where ``runtime`` computes: see ``LocalRanking`` and ``ClusterRanking``."""
    if runtime.ps_devices == [None]:
        return LocalRanking(examples, recommender, slot, batch, keep, reader)
    return ClusterRanking(runtime, examples, recommender, slot, batch, reader)


class ClusterRanking:
    """Each worker reads some of a split's rows by itself, ranks for them, and answers with two counts a user.

    The rows are cut as ``LocalRanking`` cuts them, so that both score the same matrices. A worker gets the items'
    vectors from the servers once for each ``refresh`` and keeps them (4·N·width bytes) until the next; the dense
    weights, which are small, with every batch. A batch whose worker is lost is ranked by another.
    """

    def __init__(
        self,
        runtime: Runtime,
        examples: Examples,
        recommender: Recommender,
        slot: str = "",
        batch: int = 1024,
        reader: Reader | StoredReader | None = None,
    ) -> None:
        self._runtime, self._examples, self._batch = runtime, examples, batch
        self._refreshed = 0
        length, shape = recommender.config.max_length, (recommender.size, recommender.width)
        dense = recommender.dense
        weights = dense.slots[slot] if slot else dense.variables
        takes = [*PIECES, tf.TensorSpec((), tf.int64)]
        self._clients = [runtime.per_worker(reader.client)] if reader and reader.asks else []

        @tf.function(input_signature=[*takes, *(CLIENT for _ in self._clients)], autograph=False)
        def unit(files, firsts, counts, refreshed, client=None):
            rows = held_out_rows(read_records(files, firsts, counts), examples.vocabulary, length)
            with dense.bound([tf.identity(weight) for weight in weights]):
                vectors = kept("ranking", shape, refreshed, lambda: recommender.vectors(slot))
                know = reader and reader.through(client, (files, firsts, counts))
                above, tied = places(recommender.scores(rows.history, vectors, know), rows)
            return rows.user, rows.target, above, tied

        self._unit = unit

    def refresh(self) -> None:
        """See ``Ranking``."""
        # A worker may outlive the coordinator: the number must be one that no earlier coordinator has used.
        self._refreshed = time.time_ns()

    def rank(self, split: str) -> Outcomes:
        """See ``Ranking``."""
        refreshed, results = tf.constant(self._refreshed, tf.int64), []
        for unit in in_order(self._examples.shards(split), self._batch):
            pieces = [tf.constant(part) for part in unit.arguments()[:3]]
            arguments = (*pieces, refreshed, *self._clients)
            results.append(self._runtime.schedule(self._unit, arguments))
        return Outcomes.merge(result.fetch() for result in results)


def kept(name: str, shape: tuple[int, int], version: tf.Tensor, make: Callable[[], tf.Tensor]) -> tf.Tensor:
    """What ``make`` gives (float32), made at most once for each version by whichever worker runs the graph."""
    value = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=f"{name}/value")
    of = tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=(), shared_name=f"{name}/version")

    def held() -> tf.Tensor:
        return tf.raw_ops.ReadVariableOp(resource=of, dtype=tf.int64) == version

    def replace() -> tf.Tensor:
        tf.raw_ops.AssignVariableOp(resource=value, value=make())
        tf.raw_ops.AssignVariableOp(resource=of, value=version)
        return tf.constant(True)

    there = tf.cond(tf.raw_ops.VarIsInitializedOp(resource=of), held, lambda: tf.constant(False))
    with tf.control_dependencies([tf.cond(there, lambda: tf.constant(True), replace)]):
        return tf.ensure_shape(tf.raw_ops.ReadVariableOp(resource=value, dtype=tf.float32), shape)
