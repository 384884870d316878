import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.attention import CausalAttention, TransformerBlock


def identity_attention(d: int, heads: int = 1) -> CausalAttention:
    layer = CausalAttention(d, heads, 0.0)
    layer.build((None, None, d))
    for dense in (layer.query, layer.key, layer.value, layer.output_):
        dense.kernel.assign(tf.eye(d))
    return layer


def test_attention_by_hand():
    # Position 1 scores 1·1 against position 0 and 1·1 against itself after scaling by 1/√1: an even mix.
    out = identity_attention(1)(tf.constant([[[1.0], [3.0]]]), tf.constant([[True, True]]))
    first, second = np.exp(3.0), np.exp(9.0)  # the newer query is 3: scores 3·1 and 3·3
    expected = (1.0 * first + 3.0 * second) / (first + second)
    np.testing.assert_allclose(out[0, :, 0], [1.0, expected], rtol=1e-6)


def test_two_heads_attend_apart():
    # Head 0 sees values 1 and 3, head 1 sees zeros everywhere and mixes evenly.
    x = tf.constant([[[1.0, 0.0], [3.0, 0.0]]])
    out = identity_attention(2, heads=2)(x, tf.constant([[True, True]]))
    expected = (np.exp(3.0) + 3 * np.exp(9.0)) / (np.exp(3.0) + np.exp(9.0))
    np.testing.assert_allclose(out[0, 1], [expected, 0.0], rtol=1e-6)


def test_padding_has_no_influence():
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("f4")
    layer = identity_attention(4)
    padded = np.concatenate([np.full((1, 2, 4), 7.0, "f4"), x], axis=1)
    mask = tf.constant([[False, False, True, True, True]])
    np.testing.assert_allclose(
        layer(tf.constant(padded), mask)[:, 2:], layer(tf.constant(x), mask[:, 2:]), rtol=1e-5
    )


def test_a_later_item_never_changes_an_earlier_output():
    x = np.random.default_rng(0).normal(size=(1, 4, 4)).astype("f4")
    block = TransformerBlock(4, 2, 8, 0.0)
    block.build((None, None, 4))
    changed = x.copy()
    changed[:, 3] += 1.0
    mask = tf.ones((1, 4), tf.bool)
    before, after = block(tf.constant(x), mask), block(tf.constant(changed), mask)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3] != after[:, 3]).numpy().any()


def test_a_block_with_zero_branches_is_the_identity():
    block = TransformerBlock(2, 1, 2, 0.0)
    block.build((None, None, 2))
    block.attention.output_.kernel.assign(tf.zeros((2, 2)))
    block.down.kernel.assign(tf.zeros((2, 2)))
    x = tf.constant([[[1.0, -2.0]]])
    np.testing.assert_array_equal(block(x, tf.constant([[True]])), x)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads must be positive and divide d=6, got 4"):
        CausalAttention(6, 4, 0.0)
