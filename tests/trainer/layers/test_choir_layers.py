"""ChoirRec's own layers, by hand-computed numbers."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.distillation import gated, kl_loss, margin_loss, qualified
from trainer.layers.group_id import GroupIdFusion
from trainer.layers.injection import Injection
from trainer.layers.perceptron import Perceptron
from trainer.layers.reliability import Reliability
from trainer.layers.target_attention import TargetAttention


def sigmoid(x):
    return 1 / (1 + np.exp(-np.array(x, float)))


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


def test_distillation_by_hand():
    teacher, student = tf.constant([2.0, 2.0, -1.0]), tf.constant([0.0, 1.9, 3.0])
    apart = np.abs(sigmoid([1, 1, -0.5]) - sigmoid([0, 0.95, 1.5]))
    np.testing.assert_allclose(margin_loss(teacher, student, 2.0, 0.1), np.maximum(apart - 0.1, 0) ** 2, rtol=1e-5)
    assert margin_loss(teacher, student, 2.0, 0.1)[1] == 0
    p, q = sigmoid([1, 1, -0.5]), sigmoid([0, 0.95, 1.5])
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(kl_loss(teacher, student, 2.0), divergence, rtol=1e-4, atol=1e-7)


def test_only_active_users_with_sure_predictions_teach():
    purchases = tf.constant([[5.0], [5.0], [5.0], [2.0]])
    logits = tf.constant([[-3.9], [-1.0], [-6.0], [-1.0]])
    base = 0.02  # a logit of -3.892
    assert qualified(logits, purchases, 3, 0.5, base)[:, 0].numpy().tolist() == [0, 1, 1, 0]
    # As printed every prediction at such a rate is sure but the one that says 0.27.
    assert qualified(logits, purchases, 3, 0.3, None)[:, 0].numpy().tolist() == [1, 0, 1, 0]


def test_gates_weigh_and_the_mean_is_over_those_that_qualify():
    losses, gate = tf.constant([[1.0], [2.0], [4.0]]), tf.constant([[1.0], [0.0], [1.0]])
    weights = tf.constant([[0.5], [1.0], [0.25]])
    assert float(gated(losses, gate, weights)) == pytest.approx((0.5 + 1.0) / 2)
    assert gated(losses, tf.zeros_like(gate), weights) == 0


def test_a_margin_keeps_extreme_disagreement_from_large_gradients():
    student = tf.constant([0.0, 8.0, 30.0])
    teacher = tf.constant([-30.0] * 3)
    sizes = {}
    for loss in ("margin", "kl"):
        with tf.GradientTape() as tape:
            tape.watch(student)
            found = margin_loss(teacher, student, 1.0, 0.0) if loss == "margin" else kl_loss(teacher, student, 1.0)
        sizes[loss] = np.abs(tape.gradient(found, student))
    assert sizes["margin"][2] < 1e-6 and sizes["kl"][2] == pytest.approx(1)


def test_reliability_has_two_heads_on_one_network():
    layer = Reliability((2,))
    layer.build((None, 1))
    layer.body.layers_[0].set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    layer.distill.set_weights([np.array([[1.0], [0.0]]), np.array([0.0])])
    layer.fusion.set_weights([np.array([[0.0], [2.0]]), np.array([-1.0])])
    distill, fusion = layer(tf.constant([[3.0], [-1.0]]))
    np.testing.assert_allclose(distill[:, 0], sigmoid([3, 0]), rtol=1e-5)
    np.testing.assert_allclose(fusion[:, 0], sigmoid([-1, 1]), rtol=1e-5)


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


def test_a_perceptron_drops_by_its_seed_alone():
    layer = Perceptron((64, 1), last=None, rate=0.5)
    layer.build((None, 2))
    x, seed = tf.ones((3, 2)), tf.constant([1, 2])
    np.testing.assert_array_equal(layer(x, seed), layer(x, seed))
    assert not np.array_equal(layer(x, seed), layer(x, seed + 1))
    np.testing.assert_array_equal(layer(x), layer(x))
