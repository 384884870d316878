"""The injection, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.injection import Injection


@pytest.mark.parametrize("detach", [True, False])
def test_injection_is_a_two_layer_network_that_isolates_the_group(detach):
    layer = Injection(1, detach)
    layer.build((None, 2))
    layer.inner.set_weights([np.array([[2.0], [1.0]]), np.array([0.5])])
    layer.outer.set_weights([np.array([[3.0]]), np.array([-1.0])])
    group, own = tf.constant([[1.0], [-4.0]]), tf.constant([[0.5], [1.0]])
    with tf.GradientTape() as tape:
        tape.watch([group, own])
        found = layer(group, own)
    np.testing.assert_allclose(found, [[3 * 3.0 - 1], [-1.0]])
    of_group, of_own = tape.gradient(found, [group, own], unconnected_gradients="zero")
    np.testing.assert_allclose(of_own, [[3.0], [0.0]])
    np.testing.assert_allclose(of_group, [[0.0 if detach else 6.0], [0.0]])
