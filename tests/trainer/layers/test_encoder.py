import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.layers.encoder import Encoder


def without_branches(norm: str) -> Encoder:
    """One block that adds nothing, positions (0, 0) and (2, 0)."""
    encoder = Encoder(ModelConfig(d=2, blocks=1, max_length=2, norm=norm))
    encoder.build((None, None, 2))
    encoder.position.assign([[0.0, 0.0], [2.0, 0.0]])
    for dense in (encoder.blocks[0].attention.output_, encoder.blocks[0].down):
        dense.kernel.assign(tf.zeros((2, 2)))
    return encoder


@pytest.mark.parametrize("norm", ["query", "pre", "post"])
def test_by_hand_without_what_a_block_adds(norm):
    # √2 (1, −1) at position 0; √2 (0, 4) + (2, 0) at position 1. Whatever is normalised, two values become ±1.
    out = without_branches(norm)(tf.constant([[[1.0, -1.0], [0.0, 4.0]]]), tf.constant([[True, True]]))
    np.testing.assert_allclose(out, [[[1.0, -1.0], [-1.0, 1.0]]], rtol=1e-5)


def test_a_single_item_stands_at_the_last_position():
    # √2 (−1, 0) + (2, 0) = (0.59, 0): positive, where position 0 would leave it negative.
    out = without_branches("post")(tf.constant([[[-1.0, 0.0]]]), tf.constant([[True]]))
    np.testing.assert_allclose(out, [[[1.0, -1.0]]], rtol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_later_item_changes_an_earlier_output_only_if_not_causal(causal):
    encoder = Encoder(ModelConfig(d=4, blocks=2, max_length=3, norm="post"))
    encoder.build((None, None, 4))
    x, mask = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("f4"), tf.ones((1, 3), tf.bool)
    changed = x.copy()
    changed[:, 2] += [1.0, 0.0, -1.0, 0.0]
    before, after = (encoder(tf.constant(part), mask, causal=causal)[:, 0].numpy() for part in (x, changed))
    assert (before == after).all() == causal
