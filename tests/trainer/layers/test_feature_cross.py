import numpy as np
import tensorflow as tf

from trainer.layers.feature_cross import FeatureCross


def test_each_layer_multiplies_by_the_first_input():
    cross = FeatureCross(2)
    cross.build((None, 2))
    weights = ([[1.0, 0.0], [2.0, -1.0]], [0.5, 0.0]), ([[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0])
    for layer, (kernel, bias) in zip(cross.layers_, weights, strict=True):
        layer.set_weights([np.array(kernel), np.array(bias)])
    x = np.array([1.0, 2.0])
    first = x * np.array([1 + 4 + 0.5, -2.0]) + x  # x W = (1·1 + 2·2, 1·0 − 2)
    assert first.tolist() == [6.5, -2.0]
    second = x * np.array([-2.0 + 0.0, 6.5 + 1.0]) + first
    np.testing.assert_allclose(cross(tf.constant([x], tf.float32))[0], second)


def test_no_layer_leaves_the_input():
    cross = FeatureCross(0)
    cross.build((None, 3))
    np.testing.assert_array_equal(cross(tf.constant([[1.0, 2.0, 3.0]])), [[1.0, 2.0, 3.0]])
