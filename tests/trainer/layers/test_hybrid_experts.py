import numpy as np
import pytest
import tensorflow as tf

from feature_store.knowledge_shards import Statistics
from trainer.layers.hybrid_experts import HybridExperts


@pytest.fixture
def layer():
    """One shared expert, and one of each kind, that multiply what is above 0 by 1, 10 and 100."""
    layer = HybridExperts(2, shared=1, dedicated=1, statistics=Statistics(np.array([1.0, 1.0], np.float32), 0.5))
    layer.build(2)
    for (expert,), factor in ((layer.shared, 1.0), (layer.preference, 10.0), (layer.fact, 100.0)):
        expert.inner.kernel.assign(np.eye(2))
        expert.outer.kernel.assign(np.eye(2) * factor)
    ln3 = np.log(3.0)
    layer.preference_gate.kernel.assign([[0.0, ln3], [0.0, 0.0]])
    layer.fact_gate.kernel.assign([[ln3, 0.0], [0.0, 0.0]])
    layer.factor.assign([1.0, 0.5])
    return layer


def test_users_take_the_shared_experts_and_their_own(layer):
    """2 (x − 1) is (1, −3): the gate is softmax(0, ln 3) = (1/4, 3/4), and 1/4 · 1 + 3/4 · 10 = 7.75."""
    np.testing.assert_allclose(layer(tf.constant([[[1.5, -0.5]]])), [[[7.75, 0.0]]], rtol=1e-6)


def test_items_take_the_shared_experts_and_their_own(layer):
    """The gate of (1, 2) is softmax(ln 3, 0) = (3/4, 1/4): 3/4 · x + 25 · x, the second value halved."""
    np.testing.assert_allclose(layer.items(tf.constant([[1.0, 2.0]])), [[25.75, 25.75]], rtol=1e-6)


def test_what_one_kind_learns_the_shared_experts_alone_tell_the_other(layer):
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer.items(tf.constant([[1.0, 2.0]])))
    found = tape.gradient(total, [part.outer.kernel for (part,) in (layer.shared, layer.preference, layer.fact)])
    assert [gradient is not None for gradient in found] == [True, False, True]


def test_at_first_an_item_is_its_row_alone():
    layer = HybridExperts(2, 1, 1)
    layer.build(3)
    assert layer.items(tf.ones((4, 3))).numpy().tolist() == [[0.0, 0.0]] * 4
