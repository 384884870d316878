import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.alignment import Alignment, Fusion

H = tf.constant([[[9.0, 9.0], [1.0, 0.0]], [[0.0, 3.0], [0.0, 2.0]]])
SEEN = tf.constant([[False, True], [True, True]])
KNOWLEDGE = tf.constant([[[0.0, 1.0, 0.0], [5.0, 5.0, 5.0]], [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]])
MASK = tf.constant([[True, False], [False, False]])


def plain(layer):
    """Every projection the identity, of knowledge or of two vectors together the first two coordinates."""
    layer.build(3)
    for weight in layer.trainable_variables:
        weight.assign(np.eye(*weight.shape) if weight.shape.rank == 2 else np.zeros(weight.shape))
    return layer


def test_the_last_position_attends_to_what_was_seen_and_to_the_prompts_that_are_there():
    """Keys are (1, 0), itself, and (0, 1), what is known: the scores of the query (1, 0) are 1/√2 and 0."""
    found = plain(Alignment(2, residual=False, along="tokens"))(H, SEEN, KNOWLEDGE, MASK)
    w = math.exp(2**-0.5) / (math.exp(2**-0.5) + 1)
    np.testing.assert_allclose(found[0], [w, 1 - w], rtol=1e-5)
    np.testing.assert_array_equal(found[1], [0.0, 2.0])  # nothing is known: h_RS alone


def test_along_features_h_rs_stands_beside_each_piece_of_knowledge_and_the_attention_is_over_these():
    """MLP((1, 0), (0, 1)) = (1, 1) and MLP((1, 0), (5, 5)) = (6, 5): the scores of the query are 1/√2 and 6/√2."""
    layer = plain(Alignment(2, residual=False))
    layer.inner.kernel.assign(np.tile(np.eye(2), (2, 1)))
    mask = tf.constant([[True, True], [False, False]])
    w = 1 / (1 + math.exp(5 * 2**-0.5))
    found = layer(H, SEEN, KNOWLEDGE, mask)
    np.testing.assert_allclose(found, [[w + 6 * (1 - w), w + 5 * (1 - w)], [0.0, 2.0]], rtol=1e-5)
    np.testing.assert_allclose(layer(H, SEEN, KNOWLEDGE, MASK)[0], [1.0, 1.0], rtol=1e-5)  # of one piece, that


def test_each_head_attends_with_its_own_coordinates():
    found = plain(Alignment(2, heads=2, residual=False, along="tokens"))(H, SEEN, KNOWLEDGE, MASK)
    w = math.e / (math.e + 1)  # head 0: scores 1 · 1 and 1 · 0; head 1: query 0, both alike
    np.testing.assert_allclose(found[0], [w, 0.5], rtol=1e-5)


@pytest.mark.parametrize("along", ["features", "tokens"])
def test_padding_has_no_part_in_it(along):
    layer = plain(Alignment(2, residual=False, along=along))
    other = tf.constant([[[0.0, 1.0, 0.0], [-9.0, 1.0, 3.0]], [[0.0, 0.0, 0.0], [2.0, 9.0, 2.0]]])
    h = tf.concat([tf.constant([[[4.0, 4.0]], [[0.0, 3.0]]]), H[:, 1:]], axis=1)
    np.testing.assert_array_equal(layer(H, SEEN, KNOWLEDGE, MASK), layer(h, SEEN, other, MASK))


@pytest.mark.parametrize(
    "layer",
    [Alignment(2), Alignment(2, along="tokens"), Fusion(2, hidden=False), Fusion(2, hidden=True)],
)
def test_with_a_residual_it_starts_as_h_rs_and_learns(layer):
    layer.build(3)
    with tf.GradientTape() as tape:
        found = layer(H, SEEN, KNOWLEDGE, MASK)
        loss = tf.reduce_sum(found * [1.0, 2.0])
    np.testing.assert_array_equal(found, H[:, -1])
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert any(np.abs(gradient).max() > 0 for gradient in gradients)


def test_the_fusions_read_h_rs_and_the_mean_of_what_is_known():
    mask = tf.constant([[True, True], [False, False]])  # the mean is (2.5, 3, 2.5)
    linear, hidden = Fusion(2, hidden=False, residual=False), Fusion(2, hidden=True, residual=False)
    for layer in (linear, hidden):
        layer.build(3)
    matrix = np.array([[1, 0], [0, 1], [1, 0], [0, -1], [0, 0]], np.float32)
    linear.outer.kernel.assign(matrix)
    hidden.inner.kernel.assign(matrix)
    hidden.outer.kernel.assign([[2.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(linear(H, SEEN, KNOWLEDGE, mask), [[3.5, -3.0], [0.0, 2.0]])
    np.testing.assert_allclose(hidden(H, SEEN, KNOWLEDGE, mask), [[7.0, 0.0], [0.0, 2.0]])  # ReLU between


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads must be positive and divide d=3, got 2"):
        Alignment(3, heads=2)
