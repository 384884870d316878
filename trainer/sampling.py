"""Negatives: items drawn to stand for the rest of the catalogue."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.input import Examples, target_counts
from trainer.layers.groups import grid

TRIES = 4


class Popularity:
    """Draws items by their share of the training targets, add-one smoothed so that every item can come.

    Args:
      counts: (N,) how often each index was a target; index 0 (padding) is never drawn.
    """

    def __init__(self, counts: np.ndarray) -> None:
        smoothed = counts.astype(np.float64) + 1.0
        smoothed[0] = 0.0
        self.probability = (smoothed / smoothed.sum()).astype(np.float32)  # (N,)
        self._upper = np.cumsum(smoothed / smoothed.sum())[1:].astype(np.float32)  # (N - 1,)

    def draw(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """``count`` indices in [1, N), with replacement: (count,) int32."""
        point = tf.random.stateless_uniform((count,), seed)
        place = tf.searchsorted(tf.constant(self._upper), point, side="right")
        return tf.minimum(place, len(self._upper) - 1) + 1


def popularity(examples: Examples, config: TrainConfig) -> Popularity:
    """Of the training targets, which only some losses need; else every item's is the same."""
    counts = np.zeros(examples.vocabulary.size, np.int64)
    if config.loss.kind in ("sampled_softmax", "mixed", "in_batch"):
        counts = target_counts(examples, config.model.max_length)
    return Popularity(counts)


def uniform(count: int, items: int, seed: tf.Tensor) -> tf.Tensor:
    """``count`` indices uniform in [1, items), with replacement: (count,) int32."""
    return tf.random.stateless_uniform((count,), seed, 1, items, tf.int32)


def of_batch(targets: tf.Tensor, count: int, seed: tf.Tensor) -> tf.Tensor:
    """``count`` of a batch's targets, with replacement: (count,) int32; 0 where it has none.

    Args:
      targets: any shape, 0 where there is none.
    """
    there = tf.boolean_mask(targets, targets > 0)
    draw = tf.random.stateless_uniform((count,), seed) * tf.cast(tf.size(there), tf.float32)
    place = tf.minimum(tf.cast(draw, tf.int32), tf.maximum(tf.size(there) - 1, 0))
    return tf.gather(tf.concat([there, [0]], axis=0), place)


def unseen(history: tf.Tensor, targets: tf.Tensor, items: int, seed: tf.Tensor) -> tf.Tensor:
    """One item for each position, uniform over what the window does not hold.

    Drawn ``TRIES`` times and the first that fits is kept; a window that covers so much of the catalogue that none
    fits keeps the last draw.

    Args:
      history, targets: (B, L). items: N, indices are drawn from [1, N).

    Returns:
      (B, L) int32.
    """
    window = tf.concat([history, targets[:, -1:]], axis=1)  # (B, L + 1)
    shape = tf.concat([tf.shape(history), [TRIES]], axis=0)
    drawn = tf.random.stateless_uniform(shape, seed, 1, items, tf.int32)  # (B, L, TRIES)
    chosen = drawn[..., -1]
    for i in reversed(range(TRIES - 1)):
        met = tf.reduce_any(drawn[:, :, i, None] == window[:, None, :], axis=-1)  # (B, L)
        chosen = tf.where(met, chosen, drawn[..., i])
    return chosen


def first_met(history: tf.Tensor, items: tf.Tensor, size: int) -> tf.Tensor:
    """Where each history (B, L) first holds each of some items (S,), which may repeat: (B, S) int32, L where nowhere.

    Args:
      size: N; indices are below it, and history's below 0 are none.
    """
    batch, length = tf.unstack(tf.shape(history))
    distinct, places = tf.unique(items)
    column = tf.scatter_nd(distinct[:, None], tf.range(tf.size(distinct)) + 1, (size,)) - 1  # (N,), -1 for others
    column = tf.gather(column, tf.maximum(history, 0))  # (B, L)
    row, position = grid(tf.shape(history))
    held = (history > 0) & (column >= 0)
    at = tf.stack([tf.boolean_mask(row, held), tf.boolean_mask(column, held)], axis=1)
    nowhere = tf.fill((batch, tf.size(distinct)), length)
    return tf.gather(tf.tensor_scatter_nd_min(nowhere, at, tf.boolean_mask(position, held)), places, axis=1)
