"""Hierarchical group ids, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.group_id import GroupIdFusion


@pytest.mark.parametrize("parent", ["fused", "base"])
def test_a_group_id_is_fused_from_the_coarsest_level_down(parent):
    layer = GroupIdFusion(3, 1, parent)
    layer.build()
    for dense, (above, own, bias) in zip(layer.fusions, ((0.5, 1.0, 0.1), (2.0, -1.0, 0.0)), strict=True):
        dense.set_weights([np.array([[above], [own]]), np.array([bias])])
    layer.inner.set_weights([np.array([[1.0], [1.0], [1.0]]), np.array([0.0])])
    layer.outer.set_weights([np.array([[-2.0]]), np.array([0.3])])
    base = np.array([[[0.4], [0.2], [0.6]]])
    second = np.tanh(0.5 * 0.4 + 0.2 + 0.1)
    third = np.tanh(2 * (second if parent == "fused" else 0.2) - 0.6)
    whole = -2 * max(0.4 + second + third, 0) + 0.3
    np.testing.assert_allclose(layer(tf.constant(base, tf.float32)), [[whole / abs(whole)]], rtol=1e-5)


def test_a_group_id_has_length_1_whatever_its_level():
    layer = GroupIdFusion(2, 3)
    layer.build()
    layer.outer.bias.assign([0.1, 0.0, 0.2])
    base = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    base[2:, 1] = 0
    base[3] = 0
    np.testing.assert_allclose(np.linalg.norm(layer(tf.constant(base)), axis=1), 1, rtol=1e-5)
