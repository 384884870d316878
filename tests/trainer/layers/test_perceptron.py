"""Dense layers with dropout."""

import numpy as np
import tensorflow as tf

from trainer.layers.perceptron import Perceptron


def test_a_perceptron_drops_by_its_seed_alone():
    layer = Perceptron((64, 1), last=None, rate=0.5)
    layer.build((None, 2))
    x, seed = tf.ones((3, 2)), tf.constant([1, 2])
    np.testing.assert_array_equal(layer(x, seed), layer(x, seed))
    assert not np.array_equal(layer(x, seed), layer(x, seed + 1))
    np.testing.assert_array_equal(layer(x), layer(x))
