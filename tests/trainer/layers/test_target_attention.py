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


def test_what_is_not_written_out_is_what_the_first_layer_would_see():
    tf.random.set_seed(1)
    layer = TargetAttention(3, (4, 2))
    layer.build()
    candidates, items = tf.random.normal((2, 5, 3)), tf.random.normal((2, 6, 3))
    there = tf.constant([[True] * 6, [True] * 2 + [False] * 4])
    one, other = tf.broadcast_to(candidates[:, :, None], (2, 5, 6, 3)), tf.broadcast_to(items[:, None], (2, 5, 6, 3))
    seen = tf.concat([other, one, other - one, other * one], axis=-1)
    for dense in layer.layers_:
        seen = dense(seen)
    weights = layer.out(seen)[..., 0] * tf.cast(there, tf.float32)[:, None]
    np.testing.assert_allclose(layer(candidates, items, there), tf.matmul(weights, items), rtol=1e-4, atol=1e-6)
