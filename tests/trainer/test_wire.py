import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer import optimizers
from trainer.config import OptimizerConfig, TrainConfig
from trainer.layers.flat import LARGE, FlatWeights
from trainer.layers.tables import EmbeddingTable, normal
from trainer.step import Step
from trainer.wire import narrowed, to_worker, widened
from trainer.working_set import WorkingSet

IDS = tf.constant([[5, 3, 5, 9], [0, 3, 3, 1]])
SERVERS = ("/CPU:0", "/CPU:0")  # in name: what has no device runs on the worker


def test_a_value_is_rounded_where_it_travels_and_only_there():
    value = tf.constant([1.0, 1.0 + 2**-9, 3.14159])
    assert to_worker(value, "/CPU:0", tf.bfloat16).numpy().tolist() == [1.0, 1.0, 3.140625]
    assert widened(narrowed(value, "/CPU:0", tf.bfloat16), "/CPU:0").numpy().tolist() == [1.0, 1.0, 3.140625]
    for device, wire in ((None, tf.bfloat16), ("/CPU:0", tf.float32)):
        np.testing.assert_array_equal(to_worker(value, device, wire), value)
        np.testing.assert_array_equal(widened(narrowed(value, device, wire), device), value)


def parameters(kind):
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential([tf_keras.layers.Dense(LARGE // 4), tf_keras.layers.Dense(1)])
    model.build((None, 4))
    dense = FlatWeights(model, SERVERS)
    table = EmbeddingTable("item", 10, 4, normal(1.0), 1, SERVERS)
    optimizer = optimizers.build(OptimizerConfig(kind, 0.01))
    optimizer.add_slots([table], dense)
    return model, dense, table, optimizer


def train(kind, wire, local):
    """Two steps in one call; the parameters after it, and the bytes of float tensors between worker and servers."""
    model, dense, table, optimizer = parameters(kind)

    @tf.function
    def unit(ids):
        working = WorkingSet({table: tf.reshape(ids, (-1,))}, dense, optimizer, 1, wire) if local else None
        for k in range(2):
            with Step(tf.constant(k + 1, tf.int64), dense, working, wire) as step:
                _, rows, (places,) = step.rows(table, ids[k])
                with step.weights(dense):
                    loss = tf.reduce_mean(model(tf.gather(rows, places)) ** 2)
            step.update(loss, optimizer)
        if working is not None:
            working.push()
        return tf.add_n([tf.size(t, tf.int64) * t.dtype.size for t in crossing(tf.compat.v1.get_default_graph())])

    crossed = int(unit(IDS))
    return np.concatenate([table.whole().numpy().ravel(), dense.values(dense.variables)]), crossed


def crossing(graph):
    """The float tensors, scalars left out, that an op at one end makes and one at the other end takes."""
    captured = {placeholder.op for _, placeholder in graph.captures}

    def on_server(op):
        return bool(op.device) or any(i.dtype == tf.resource and i.op in captured for i in op.inputs)

    return list({
        (i.ref(), on_server(op)): i
        for op in graph.get_operations() for i in op.inputs
        if i.dtype in (tf.float32, tf.bfloat16) and i.shape.rank != 0 and on_server(op) != on_server(i.op)
    }.values())  # fmt: skip


LARGE_BYTES = 4 * (4 * LARGE // 4)


@pytest.mark.parametrize("local", [False, True])
def test_bfloat16_halves_the_bytes_of_parameters_and_gradients(local):
    exact, full = train("sgd", tf.float32, local)
    rounded, half = train("sgd", tf.bfloat16, local)
    assert 2 * half == full > 2 * LARGE_BYTES
    assert 0 < np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 2**-7


def test_slots_of_a_working_set_travel_whole():
    _, parameters_alone = train("sgd", tf.float32, True)
    exact, full = train("adagrad", tf.float32, True)
    rounded, less = train("adagrad", tf.bfloat16, True)
    assert full == 2 * parameters_alone  # a slot beside each parameter, both ways
    assert less == parameters_alone + parameters_alone // 2
    assert np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 2**-7


def test_servers_keep_what_rounding_would_lose():
    """Moves below a bfloat16's precision add up: one worker, too, does not put its rounded copy in their place."""
    model, dense, table, optimizer = parameters("sgd")
    table.assign(np.full((10, 4), 1.0, np.float32))
    for _ in range(4):
        working = WorkingSet({table: tf.constant([3])}, dense, optimizer, 1, tf.bfloat16)
        local = working.table(table)
        tf.raw_ops.ResourceScatterAdd(
            resource=local.shards[0].handle, indices=[0], updates=tf.fill((1, 4), 2.0**-10)
        )
        working.push()
    assert table.whole().numpy()[3].tolist() == [1.0 + 2.0**-8] * 4


def test_a_wrong_wire_is_named():
    with pytest.raises(ValueError, match="wire must be one of 'float32', 'bfloat16', received 'float16'"):
        TrainConfig(wire="float16")
