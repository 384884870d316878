import numpy as np
import tensorflow as tf

from trainer.layers.group_attention import GroupAttention


def layer() -> GroupAttention:
    made = GroupAttention(1, 2)
    made.build([1, 1])
    for dense in made.inputs_:
        dense.set_weights([np.array([[1.0]]), np.array([0.0])])
    made.queries[0].set_weights([np.array([[1.0]])])
    made.keys[0].set_weights([np.array([[2.0]])])
    made.values[0].set_weights([np.array([[10.0]])])
    return made


def test_the_first_sequence_looks_at_the_other_at_filled_places():
    items = tf.constant([[[9.0], [1.0], [0.0]]])
    times = tf.constant([[[7.0], [0.0], [np.log(3.0) / 2]]])
    there = tf.constant([[False, True, True]])
    # Place 1 has query 1: weights softmax(0, log 3) = (1/4, 3/4) of values (0, 5 log 3); place 2 has query 0: both 1/2.
    value = 5 * np.log(3.0)
    mixed = [1.0 + 0.75 * value, 0.0 + 0.5 * value]
    np.testing.assert_allclose(layer()([items, times], there), [[np.mean(mixed)]], rtol=1e-6)


def test_an_empty_group_is_zero():
    nothing = tf.zeros((2, 3, 1))
    np.testing.assert_array_equal(layer()([nothing + 5, nothing], tf.zeros((2, 3), tf.bool)), [[0.0], [0.0]])
