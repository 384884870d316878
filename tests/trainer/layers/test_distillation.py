"""Gated distillation, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.distillation import gated, kl_loss, margin_loss, qualified


def sigmoid(x):
    return 1 / (1 + np.exp(-np.array(x, float)))


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
