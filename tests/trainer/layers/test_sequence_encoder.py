import numpy as np
import tensorflow as tf

from trainer.layers.sequence_encoder import SequenceEncoder


def layer() -> SequenceEncoder:
    """Attention with keys of 0 (all places alike) and values as they are, so it answers with the mean."""
    made = SequenceEncoder(1, 1, 3)
    made.build(1)
    made.input_.set_weights([np.array([[2.0]]), np.array([0.0])])
    one, zero = [np.array([[1.0]]), np.array([0.0])], [np.array([[0.0]]), np.array([0.0])]
    for dense, weights in zip((made.attention.query, made.attention.key, made.attention.value, made.attention.output_),
                              (one, zero, one, one), strict=True):  # fmt: skip
        dense.set_weights(weights)
    made.places.assign([[100.0], [0.5], [0.25]])
    return made


def test_places_count_from_the_newest_and_the_answer_is_the_mean():
    x, there = tf.constant([[[50.0], [1.0], [3.0]]]), tf.constant([[False, True, True]])
    at = np.array([2.5, 6.25])  # 2 x + place
    np.testing.assert_allclose(layer()(x, there), [[at.mean() + at.mean()]], rtol=1e-6)
    np.testing.assert_allclose(layer()(x[:, 1:], there[:, 1:]), [[2 * at.mean()]], rtol=1e-6)


def test_an_empty_sequence_is_zero():
    np.testing.assert_array_equal(layer()(tf.ones((1, 3, 1)), tf.zeros((1, 3), tf.bool)), [[0.0]])


def test_order_matters_by_the_places_alone():
    made, there = layer(), tf.ones((1, 2), tf.bool)
    forth, back = made(tf.constant([[[1.0], [3.0]]]), there), made(tf.constant([[[3.0], [1.0]]]), there)
    np.testing.assert_allclose(forth, back)  # attention that sees all places alike
    made.attention.key.set_weights([np.array([[1.0]]), np.array([0.0])])
    forth, back = made(tf.constant([[[1.0], [3.0]]]), there), made(tf.constant([[[3.0], [1.0]]]), there)
    assert np.abs(forth - back).max() > 1e-3
