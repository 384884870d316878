"""Items hidden from a model that has to say what they were. All of it is a function of a seed."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

MASKED = -1
"""Stands in a sequence of item indices for an item that is hidden."""


def some(sequence: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Which items to hide: each with probability ``rate``, and one at least of every sequence that has any.

    Args:
      sequence: (B, L) indices, 0 is padding.

    Returns:
      (B, L) bool.
    """
    chance = tf.where(sequence > 0, tf.random.stateless_uniform(tf.shape(sequence), seed), 1.0)
    least = tf.reduce_min(chance, axis=1, keepdims=True)
    return (sequence > 0) & ((chance < rate) | (chance == least))


def last(sequence: tf.Tensor) -> tf.Tensor:
    """Where the newest item of each sequence (B, L) stands: (B, L) bool."""
    place = tf.range(tf.shape(sequence)[1])[None]
    return (sequence > 0) & (place == tf.shape(sequence)[1] - 1)


def hidden(sequence: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A sequence (B, L) with MASKED ``where`` (B, L), and the items that stood there, 0 elsewhere."""
    return tf.where(where, MASKED, sequence), tf.where(where, sequence, 0)


class Segments(NamedTuple):
    """Three versions of sequences, all (B, L), in which padding stays."""

    context: tf.Tensor  # a segment is MASKED
    segment: tf.Tensor  # all but the segment is MASKED
    other: tf.Tensor  # as ``segment``, with items of elsewhere in its place
    size: tf.Tensor  # (B,) items of the segment; 0 of a sequence with fewer than two


def segments(sequence: tf.Tensor, seed: tf.Tensor) -> Segments:
    """Cuts a segment of one to half of its items out of each sequence (S3-Rec, §4.2.4).

    What is put in its place in ``other`` are as many neighbours of the batch's sequences laid end to end, from a
    random place on.

    Args:
      sequence: (B, L) indices, right-aligned. seed: (2,).
    """
    count = tf.reduce_sum(tf.cast(sequence > 0, tf.int32), axis=1)  # (B,)
    draws = tf.unstack(tf.random.stateless_uniform((3, tf.shape(sequence)[0]), seed))
    size = tf.where(count > 1, 1 + _below(count // 2, draws[0]), 0)
    first = tf.shape(sequence)[1] - count + _below(count - size + 1, draws[1])
    place = tf.range(tf.shape(sequence)[1])[None] - first[:, None]  # (B, L), within the segment
    within = (place >= 0) & (place < size[:, None])
    everything = tf.boolean_mask(sequence, sequence > 0)
    total = tf.maximum(tf.size(everything), 1)
    start = _below(total, draws[2])[:, None]
    elsewhere = tf.gather(tf.concat([everything, [0]], axis=0), (start + place) % total)
    rest = tf.where(sequence > 0, MASKED, 0)
    return Segments(
        tf.where(within, MASKED, sequence),
        tf.where(within, sequence, rest),
        tf.where(within, elsewhere, rest),
        size,
    )


def _below(count: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Draws in [0, 1) -> whole numbers in [0, count)."""
    scaled = tf.cast(draw * tf.cast(count, tf.float32), tf.int32)
    return tf.minimum(scaled, tf.maximum(count - 1, 0))
