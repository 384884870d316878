import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, normal
from trainer.optimizers import SGD
from trainer.step import Step

ONE = tf.constant(1, tf.int64)


@pytest.fixture(params=[1, 2, 3])
def table(request):
    table = EmbeddingTable("item", 5, 2, normal(1.0), seed=1, devices=(None,) * request.param)
    table.assign(np.arange(10, dtype=np.float32).reshape(5, 2))
    return table


def test_rows_are_read_once_each_and_placed(table):
    with Step(ONE) as step:
        unique, rows, (history, target) = step.rows(table, tf.constant([[3, 0], [3, 4]]), tf.constant([0]))
    assert unique.numpy().tolist() == [3, 0, 4]
    assert rows.numpy().tolist() == [[6, 7], [0, 1], [8, 9]]
    assert history.numpy().tolist() == [[0, 1], [0, 2]]
    assert target.numpy().tolist() == [1]


def test_a_repeated_row_gets_the_sum_of_its_gradients(table):
    with Step(ONE) as step:
        _, rows, (places,) = step.rows(table, tf.constant([3, 0, 3]))
        loss = tf.reduce_sum(tf.gather(rows, places))
    step.update(loss, SGD(learning_rate=1.0))
    assert table.whole().numpy().tolist() == [[-1, 0], [2, 3], [4, 5], [4, 5], [8, 9]]


def test_the_whole_table_is_updated_where_it_was_used(table):
    with Step(ONE) as step:
        loss = tf.reduce_sum(step.whole(table)[3] * tf.constant([1.0, 2.0]))
    step.update(loss, SGD(learning_rate=1.0))
    assert table.whole().numpy().tolist() == [[0, 1], [2, 3], [4, 5], [5, 5], [8, 9]]


def test_a_frozen_table_is_read_and_left_alone():
    table = EmbeddingTable("text", 3, 2, normal(1.0), trainable=False)
    before = table.whole().numpy()
    with Step(ONE) as step:
        _, rows, _ = step.rows(table, tf.constant([1]))
        loss = tf.reduce_sum(rows) + tf.reduce_sum(step.whole(table))
    step.update(loss, SGD(learning_rate=1.0))
    np.testing.assert_array_equal(table.whole(), before)


def test_dense_weights_move_and_come_back_into_the_model():
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, kernel_initializer="ones")])
    model.build((None, 2))
    flat = FlatWeights(model)
    x = tf.constant([[1.0, 2.0]])
    with Step(ONE) as step, step.weights(flat):
        loss = tf.reduce_sum(model(x))
    step.update(loss, SGD(learning_rate=0.5))
    assert float(loss) == 3.0
    assert model(x).numpy().item() == 3.0  # the model's own weights have not moved
    flat.pull()
    assert model.layers[0].kernel.numpy().ravel().tolist() == [0.5, 0.0]
    assert model.layers[0].bias.numpy().tolist() == [-0.5]


def test_gradients_are_clipped_by_their_joint_norm(table):
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.build((None, 2))
    flat, optimizer = FlatWeights(model), SGD(learning_rate=1.0)
    optimizer.clip = 1.0
    with Step(ONE) as step:
        _, rows, _ = step.rows(table, tf.constant([1]))
        with step.weights(flat):
            loss = 3.0 * tf.reduce_sum(rows[:, 0]) + tf.reduce_sum(model(tf.constant([[4.0, 0.0]])))
    step.update(loss, optimizer)  # gradients (3, 0) and (4, 0), of norm 5
    np.testing.assert_allclose(table.whole()[1], [2 - 3 / 5, 3], rtol=1e-6)
    np.testing.assert_allclose(flat.variables[0][:, 0], [1 - 4 / 5, 1], rtol=1e-6)
