import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.confidence import Confidence, entropy, uniform_share

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
    assert float(uniform_share(p, tf.fill(4, 0.25), 0.5)) == 0.0


def test_what_is_judged_gets_no_gradient_and_the_judge_does():
    made, x = layer(0.5), tf.Variable([[1.0], [2.0], [0.5], [0.1]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(made(x, ALL) * tf.constant([1.0, 2.0, 3.0, 4.0]))
    to_x, *to_layer = tape.gradient(loss, [x, *made.trainable_variables])
    assert to_x is None
    assert any(np.abs(gradient).max() > 0 for gradient in to_layer)
