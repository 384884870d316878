import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.confidence import Confidence, entropy, tempered

ALL = tf.constant([True, True, True, True])


def layer(floor: float) -> Confidence:
    """The score of x is x itself, for x ≥ 0."""
    made = Confidence(1, floor)
    made.build((None, 1))
    for dense in made.network.layers_:
        dense.set_weights([np.array([[1.0]]), np.array([0.0])])
    return made


def test_weights_are_the_softmax_over_the_batch_with_mean_1():
    x = tf.constant([[0.0], [np.log(2.0)], [0.0], [np.log(4.0)]], tf.float32)
    np.testing.assert_allclose(layer(0.0)(x, ALL), [0.5, 1.0, 0.5, 2.0], rtol=1e-6)


def test_what_does_not_count_weighs_nothing():
    x, some = tf.constant([[0.0], [9.0], [np.log(3.0)], [7.0]], tf.float32), tf.constant([True, False, True, False])
    np.testing.assert_allclose(layer(0.0)(x, some), [0.5, 0.0, 1.5, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(layer(0.5)(x, tf.zeros(4, tf.bool)), np.zeros(4))


@pytest.mark.parametrize("floor", [0.5, 0.9, 1.0])
def test_the_entropy_of_the_weights_never_falls_below_the_floor(floor):
    x = tf.constant([[0.0], [40.0], [0.0], [0.0]])  # left alone, all on one sample
    weights = layer(floor)(x, ALL)
    assert float(tf.reduce_mean(weights)) == pytest.approx(1.0, rel=1e-5)
    assert float(entropy(weights / 4)) == pytest.approx(floor * np.log(4), abs=1e-4)


def test_an_entropy_above_the_floor_is_left_alone():
    p = tf.constant([0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(tempered(tf.math.log(p), ALL, 0.5), p, rtol=1e-6)


def test_a_floor_tempers_the_scores():
    """With β = 1/2 the scores log(16, 1, 1, 1) weigh 4/7, 1/7, 1/7, 1/7, of entropy (4 log(7/4) + 3 log 7) / 7."""
    floor = (4 * np.log(7 / 4) + 3 * np.log(7)) / 7 / np.log(4)
    found = tempered(tf.math.log(tf.constant([16.0, 1.0, 1.0, 1.0])), ALL, floor)
    np.testing.assert_allclose(found, [4 / 7, 1 / 7, 1 / 7, 1 / 7], rtol=1e-5)


def test_the_order_of_many_scores_is_kept_and_no_session_has_all():
    scores = tf.constant(50 * np.random.default_rng(0).normal(size=256), tf.float32)
    weights = 256 * tempered(scores, tf.ones(256, tf.bool), 0.9).numpy()
    assert float(entropy(tf.constant(weights / 256))) == pytest.approx(0.9 * np.log(256), abs=1e-3)
    assert (np.argsort(weights)[-20:] == np.argsort(scores)[-20:]).all()
    assert weights.max() < 16  # mixed with uniform ones to this entropy, a softmax of one session has 48 for it


def test_at_the_floor_a_gradient_goes_through_the_temperature_too():
    """Against the difference quotient; the scores' length moves nothing."""
    losses, floor = tf.constant([0.3, 2.0, 1.0, 0.5]), 0.7
    start = np.array([3.0, 0.0, 1.0, -1.0], np.float32)

    def loss(scores):
        return tf.reduce_sum(tempered(scores, ALL, floor) * losses)

    scores = tf.Variable(start)
    with tf.GradientTape() as tape:
        value = loss(scores)
    gradient = tape.gradient(value, scores).numpy()
    step = 1e-2 * np.eye(4, dtype=np.float32)
    quotients = [float(loss(tf.constant(start + d)) - loss(tf.constant(start - d))) / 2e-2 for d in step]
    np.testing.assert_allclose(gradient, quotients, atol=2e-3)
    assert abs(gradient @ (start - start.mean())) < 1e-3


def test_learning_ends_at_weights_that_fall_off_with_the_loss():
    """Of all weights of this entropy those of least Σ p L are ∝ exp(−L / t)."""
    losses, scores = tf.constant([0.0, 1.0, 2.0, 3.0]), tf.Variable([0.1, 0.0, -0.1, 0.05])
    for _ in range(400):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tempered(scores, ALL, 0.8) * losses)
        scores.assign_sub(tape.gradient(loss, scores))
    logs = np.log(tempered(scores, ALL, 0.8))
    np.testing.assert_allclose(np.diff(logs), np.diff(logs)[0], rtol=0.05)


def test_what_is_judged_gets_no_gradient_and_the_judge_does():
    made, x = layer(0.5), tf.Variable([[1.0], [2.0], [0.5], [0.1]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(made(x, ALL) * tf.constant([1.0, 2.0, 3.0, 4.0]))
    to_x, *to_layer = tape.gradient(loss, [x, *made.trainable_variables])
    assert to_x is None
    assert any(np.abs(gradient).max() > 0 for gradient in to_layer)
