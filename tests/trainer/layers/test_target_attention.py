"""Attention of a candidate, by hand."""

import numpy as np
import tensorflow as tf

from trainer.layers.target_attention import TargetAttention


def test_target_attention_weighs_items_by_the_candidate_and_leaves_padding_out():
    layer = TargetAttention(1, ())
    layer.build()
    layer.out.set_weights([np.array([[1.0], [2.0], [0.5], [1.0]]), np.array([0.1])])  # item, candidate, difference, ×
    candidates, items = tf.constant([[[2.0], [1.0]]]), tf.constant([[[9.0], [3.0], [-1.0]]])
    found = layer(candidates, items, tf.constant([[False, True, True]]))

    def weight(item, candidate):
        return item + 2 * candidate + 0.5 * (item - candidate) + item * candidate + 0.1

    expected = [3 * weight(3, c) - weight(-1, c) for c in (2, 1)]
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-5)
    empty = layer(candidates, items, tf.zeros((1, 3), tf.bool))
    assert not empty.numpy().any()
