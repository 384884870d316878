"""Fifty steps of a small model, in one process or on a cluster; prints losses and final parameters as JSON.

Run as `python trajectory.py <optimizer> <cluster size, or nothing> <folder>`, because a process can join one
cluster only.
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tf_keras

from trainer import optimizers
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.config import OptimizerConfig
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, normal
from trainer.read_ahead import read_ahead
from trainer.step import Step
from trainer.working_set import WorkingSet

STEPS, UNROLLED, BATCH, ROWS, WIDTH = 50, 5, 16, 101, 4


def train(kinds: list[str], runtime: strategy.Runtime) -> dict[str, list[float]]:
    """By "<optimizer> <mode>"; the modes that round or read ahead only with Adagrad."""
    found = {}
    for kind in kinds:
        modes = {"off": {}} if runtime.ps_devices == [None] else {"off": {}, "on": {"local": True}}
        if kind == "adagrad":
            modes["ahead"] = {"prefetch": True}
            modes |= {f"{mode} bfloat16": {**modes[mode], "wire": tf.bfloat16} for mode in list(modes)}
        found |= {f"{kind} {mode}": trajectory(kind, runtime, **settings) for mode, settings in modes.items()}
    return found


def trajectory(
    kind: str,
    runtime: strategy.Runtime,
    local: bool = False,
    wire: tf.DType = tf.float32,
    prefetch: bool = False,
) -> list[float]:
    """The 50 losses, then the table and the dense weights; ``local`` is with a working set."""
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential(
        [tf_keras.layers.Dense(300, activation="relu"), tf_keras.layers.Dense(300), tf_keras.layers.Dense(1)]
    )
    model.build((None, 3 * WIDTH))  # 90,000 weights in one layer: it has a variable of its own
    dense = FlatWeights(model, runtime.ps_devices)
    table = EmbeddingTable("item", ROWS, WIDTH, normal(0.1), 1, runtime.ps_devices)
    optimizer = optimizers.build(OptimizerConfig(kind, learning_rate=0.01))
    optimizer.add_slots([table], dense)

    @tf.function(input_signature=[tf.TensorSpec((UNROLLED, BATCH, 3), tf.int64), tf.TensorSpec((), tf.int64)])
    def steps(ids, first):
        losses, working = [], None
        if local:
            working = WorkingSet({table: tf.reshape(ids, (-1,))}, dense, optimizer, runtime.workers, wire)
        ahead = read_ahead({table: tf.reshape(ids[0], (-1,))}, wire) if prefetch else None
        for k in range(UNROLLED):
            following = None
            if prefetch and k + 1 < UNROLLED:
                following = read_ahead({table: tf.reshape(ids[k + 1], (-1,))}, wire)
            with Step(first + k, dense, working, wire, ahead) as step:
                _, rows, (places,) = step.rows(table, ids[k])
                with step.weights(dense):
                    score = model(tf.reshape(tf.gather(rows, places), (BATCH, 3 * WIDTH)))[:, 0]
                label = tf.cast(ids[k][:, 0] % 2, tf.float32)
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label, score))
            step.update(loss, optimizer)
            losses.append(loss)
            ahead = following
        if working:
            working.push()
        return tf.stack(losses)

    ids = np.random.default_rng(0).integers(0, ROWS, (STEPS // UNROLLED, UNROLLED, BATCH, 3))
    results = [
        runtime.schedule(steps, (tf.constant(unit), tf.constant(1 + i * UNROLLED, tf.int64)))
        for i, unit in enumerate(ids)
    ]
    runtime.join()
    losses = [float(loss) for result in results for loss in result.fetch()]
    return losses + table.whole().numpy().ravel().tolist() + dense.values(dense.variables).tolist()


def main(kinds: str, size: str, folder: str) -> None:
    if size:
        with LocalCluster(ClusterSize.parse(size), folder) as servers:
            found = train(kinds.split(","), strategy.connect(servers.tf_config))
    else:
        found = train(kinds.split(","), strategy.InProcess())
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
