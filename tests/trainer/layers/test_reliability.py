"""The reliability network, by hand."""

import numpy as np
import tensorflow as tf

from trainer.layers.reliability import Reliability


def sigmoid(x):
    return 1 / (1 + np.exp(-np.array(x, float)))


def test_reliability_has_two_heads_on_one_network():
    layer = Reliability((2,))
    layer.build((None, 1))
    layer.body.layers_[0].set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    layer.distill.set_weights([np.array([[1.0], [0.0]]), np.array([0.0])])
    layer.fusion.set_weights([np.array([[0.0], [2.0]]), np.array([-1.0])])
    distill, fusion = layer(tf.constant([[3.0], [-1.0]]))
    np.testing.assert_allclose(distill[:, 0], sigmoid([3, 0]), rtol=1e-5)
    np.testing.assert_allclose(fusion[:, 0], sigmoid([-1, 1]), rtol=1e-5)
