import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.auto_int import Interacting


def test_each_head_mixes_the_fields_and_the_residual_is_added_before_the_relu():
    layer = Interacting(2, 2)
    layer.build((None, None, 1))
    layer.query.set_weights([np.array([[1.0, 0.0]])])
    layer.key.set_weights([np.array([[1.0, 5.0]])])
    layer.value.set_weights([np.array([[1.0, 2.0]])])
    layer.residual.set_weights([np.array([[0.0, -10.0]])])
    two = np.log(2.0)
    found = layer(tf.constant([[[0.0], [two]]], tf.float32))
    # Head 1 of field 2: softmax(0, log² 2) over values (0, log 2). Head 2 has queries of 0: the mean of (0, 2 log 2).
    heavy = np.exp(two**2) / (1 + np.exp(two**2))
    expected = [[two / 2, two], [heavy * two, 0.0]]  # field 2, head 2: log 2 − 10 log 2 < 0
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="heads must be positive and divide d=3, got 2"):
        Interacting(3, 2)
