import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.attention import SelfAttention, TransformerBlock


def identity_attention(d: int, heads: int = 1) -> SelfAttention:
    layer = SelfAttention(d, heads, 0.0)
    layer.build((None, None, d))
    for dense in (layer.query, layer.key, layer.value, layer.output_):
        dense.kernel.assign(tf.eye(d))
    return layer


def test_attention_by_hand():
    # Position 1 scores 1·1 against position 0 and 1·1 against itself after scaling by 1/√1: an even mix.
    x = tf.constant([[[1.0], [3.0]]])
    out = identity_attention(1)(x, x, tf.constant([[True, True]]))
    first, second = np.exp(3.0), np.exp(9.0)  # the newer query is 3: scores 3·1 and 3·3
    expected = (1.0 * first + 3.0 * second) / (first + second)
    np.testing.assert_allclose(out[0, :, 0], [1.0, expected], rtol=1e-6)


def test_two_heads_attend_apart():
    # Head 0 sees values 1 and 3, head 1 sees zeros everywhere and mixes evenly.
    x = tf.constant([[[1.0, 0.0], [3.0, 0.0]]])
    out = identity_attention(2, heads=2)(x, x, tf.constant([[True, True]]))
    expected = (np.exp(3.0) + 3 * np.exp(9.0)) / (np.exp(3.0) + np.exp(9.0))
    np.testing.assert_allclose(out[0, 1], [expected, 0.0], rtol=1e-6)


def test_padding_has_no_influence():
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("f4")
    layer = identity_attention(4)
    padded = tf.constant(np.concatenate([np.full((1, 2, 4), 7.0, "f4"), x], axis=1))
    mask = tf.constant([[False, False, True, True, True]])
    np.testing.assert_allclose(
        layer(padded, padded, mask)[:, 2:], layer(tf.constant(x), tf.constant(x), mask[:, 2:]), rtol=1e-5
    )


def test_queries_and_values_may_differ():
    # Queries of 0 mix the values evenly, whatever they are.
    x, values = tf.zeros((1, 2, 1)), tf.constant([[[1.0], [3.0]]])
    out = identity_attention(1)(x, values, tf.constant([[True, True]]))
    np.testing.assert_allclose(out[0, :, 0], [1.0, 2.0], rtol=1e-6)


def test_attention_that_is_not_causal_by_hand():
    # Query 1 scores 1·1 and 1·3, query 3 scores 3·1 and 3·3.
    x = tf.constant([[[1.0], [3.0]]])
    out = identity_attention(1)(x, x, tf.constant([[True, True]]), causal=False)
    expected = [(np.exp(q) + 3 * np.exp(3 * q)) / (np.exp(q) + np.exp(3 * q)) for q in (1.0, 3.0)]
    np.testing.assert_allclose(out[0, :, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("norm", ["query", "pre", "post"])
def test_a_later_item_never_changes_an_earlier_output(norm):
    x = np.random.default_rng(0).normal(size=(1, 4, 4)).astype("f4")
    block = TransformerBlock(4, 2, 8, 0.0, norm=norm)
    block.build((None, None, 4))
    changed = x.copy()
    changed[:, 3] += 1.0
    mask = tf.ones((1, 4), tf.bool)
    before, after = block(tf.constant(x), mask), block(tf.constant(changed), mask)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3] != after[:, 3]).numpy().any()


def zero_branches(norm: str) -> TransformerBlock:
    block = TransformerBlock(2, 1, 2, 0.0, norm=norm)
    block.build((None, None, 2))
    block.attention.output_.kernel.assign(tf.zeros((2, 2)))
    block.down.kernel.assign(tf.zeros((2, 2)))
    return block


def test_without_its_branches_a_pre_norm_block_is_the_identity_and_a_query_norm_block_a_norm():
    x = tf.constant([[[1.0, -3.0]]])
    np.testing.assert_array_equal(zero_branches("pre")(x, tf.constant([[True]])), x)
    np.testing.assert_allclose(zero_branches("query")(x, tf.constant([[True]])), [[[1.0, -1.0]]], rtol=1e-6)


def test_a_query_norm_block_by_hand():
    # One item (4, 0). It attends to itself alone, to its value as it is: 4 + 4 = 8, norm of (8, 0) = (1, −1).
    # The feed-forward of (1, −1) with identity weights is relu: (1, 0). Their sum is (2, −1).
    block = TransformerBlock(2, 1, 2, 0.0)
    block.build((None, None, 2))
    for dense in (block.attention.value, block.attention.output_, block.up, block.down):
        dense.kernel.assign(tf.eye(2))
    out = block(tf.constant([[[4.0, 0.0]]]), tf.constant([[True]]))
    np.testing.assert_allclose(out, [[[2.0, -1.0]]], rtol=1e-6)


def test_a_pre_norm_block_by_hand():
    # (4, 0) is normed to (1, −1), which is added: (5, −1), normed again (1, −1), through relu (1, 0): (6, −1).
    block = TransformerBlock(2, 1, 2, 0.0, norm="pre")
    block.build((None, None, 2))
    for dense in (block.attention.value, block.attention.output_, block.up, block.down):
        dense.kernel.assign(tf.eye(2))
    out = block(tf.constant([[[4.0, 0.0]]]), tf.constant([[True]]))
    np.testing.assert_allclose(out, [[[6.0, -1.0]]], rtol=1e-6)


def test_a_post_norm_block_by_hand():
    # (4, 0) and what it attends to, itself: (8, 0), normed to (1, −1). Relu of that is added: (2, −1), normed again.
    block = TransformerBlock(2, 1, 2, 0.0, norm="post")
    block.build((None, None, 2))
    for dense in (block.attention.value, block.attention.output_, block.up, block.down):
        dense.kernel.assign(tf.eye(2))
    block.norms[1].gamma.assign([3.0, 5.0])
    out = block(tf.constant([[[4.0, 0.0]]]), tf.constant([[True]]))
    np.testing.assert_allclose(out, [[[3.0, -5.0]]], rtol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads must be positive and divide d=6, got 4"):
        SelfAttention(6, 4, 0.0)
