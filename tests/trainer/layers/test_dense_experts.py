import numpy as np
import tensorflow as tf

from trainer.layers.dense_experts import DenseExperts


def test_each_gate_weighs_all_experts_in_its_own_way():
    layer = DenseExperts(2, (1,), 2)
    layer.build((None, 1))
    for expert, slope in zip(layer.experts, (1.0, 3.0), strict=True):
        expert.layers_[0].set_weights([np.array([[slope]]), np.array([0.0])])
    layer.gates[0].set_weights([np.array([[0.0, 0.0]]), np.array([0.0, 0.0])])
    layer.gates[1].set_weights([np.array([[0.0, np.log(3.0)]]), np.array([0.0, 0.0])])
    x = tf.constant([[1.0], [2.0], [-1.0]])
    np.testing.assert_allclose(layer(x, 0), [[2.0], [4.0], [0.0]], rtol=1e-6)
    # At x = 1 the second gate weighs 1 : 3, at x = 2 1 : 9.
    np.testing.assert_allclose(layer(x, 1), [[(1 + 9) / 4], [(2 + 9 * 6) / 10], [0.0]], rtol=1e-6)
