import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer import optimizers
from trainer.config import OptimizerConfig

STOCK = {
    "sgd": tf_keras.optimizers.SGD,
    "adagrad": tf_keras.optimizers.Adagrad,
    "adam": tf_keras.optimizers.Adam,
    "lazy_adam": tf_keras.optimizers.Adam,
}
GRADIENTS = [[[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]], [[-1.0, 1.0], [0.1, 0.2], [4.0, 0.0]]]


def parameter(kind):
    optimizer = optimizers.build(OptimizerConfig(kind, learning_rate=0.1))
    variable = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    slots = {name: tf.Variable(tf.fill((3, 2), value)) for name, value in optimizer.slots.items()}
    return optimizer, variable, slots


@pytest.mark.parametrize("kind", STOCK)
def test_dense_updates_are_those_of_keras(kind):
    optimizer, variable, slots = parameter(kind)
    stock, expected = STOCK[kind](learning_rate=0.1), tf.Variable(variable)
    for step, gradient in enumerate(GRADIENTS, 1):
        optimizer.dense(variable, slots, tf.constant(gradient), tf.constant(step, tf.int64))
        stock.apply_gradients([(tf.constant(gradient), expected)])
    np.testing.assert_allclose(variable, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", STOCK)
def test_updating_every_row_is_a_dense_update(kind):
    optimizer, variable, slots = parameter(kind)
    _, expected, expected_slots = parameter(kind)
    for step, gradient in enumerate(GRADIENTS, 1):
        number = tf.constant(step, tf.int64)
        optimizer.rows(variable, slots, tf.constant([2, 0, 1]), tf.gather(gradient, [2, 0, 1]), number)
        optimizer.dense(expected, expected_slots, tf.constant(gradient), number)
    np.testing.assert_allclose(variable, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adagrad", "lazy_adam"])
def test_a_row_that_was_not_read_stays_and_so_do_its_slots(kind):
    optimizer, variable, slots = parameter(kind)
    for step, row in enumerate([0, 2], 1):
        optimizer.rows(
            variable, slots, tf.constant([row]), tf.constant([[1.0, -1.0]]), tf.constant(step, tf.int64)
        )
    assert variable[1].numpy().tolist() == [3.0, 4.0]
    assert not np.isclose(variable[0], [1.0, 2.0]).any()
    for name, slot in slots.items():
        assert slot[1].numpy() == pytest.approx(optimizer.slots[name])


def test_adam_moves_rows_that_were_read_before():
    optimizer, variable, slots = parameter("adam")
    one = tf.constant([[1.0, 1.0]])
    optimizer.rows(variable, slots, tf.constant([0]), one, tf.constant(1, tf.int64))
    before = variable[0].numpy()
    optimizer.rows(variable, slots, tf.constant([1]), one, tf.constant(2, tf.int64))
    assert (variable[0].numpy() < before).all()


def test_adagrad_by_hand():
    optimizer, variable, slots = parameter("adagrad")
    optimizer.rows(variable, slots, tf.constant([1]), tf.constant([[2.0, 0.0]]), tf.constant(1, tf.int64))
    assert slots["accumulator"][1].numpy().tolist() == pytest.approx([4.1, 0.1])
    assert variable[1].numpy().tolist() == pytest.approx([3.0 - 0.1 * 2.0 / 4.1**0.5, 4.0])
