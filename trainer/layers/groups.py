"""Sequences of like length computed together: the same numbers as one padded batch, with little padding."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def widths(max_length: int) -> tuple[int, ...]:
    """Padded widths used for sequences of up to ``max_length`` items: quarters of powers of two, at most four."""
    return tuple(sorted({max(max_length // k, 1) for k in (8, 4, 2, 1)}))


def by_length(
    body: Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor],
    ids: tf.Tensor,
    places: tf.Tensor,
    vectors: tf.Tensor,
    *along: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Runs ``body`` on groups of right-aligned sequences, each group cut to its own width.

    Args:
      body: (x (b, l, d), mask (b, l), group number) -> (b, l, d).
      ids: (B, L) int, 0 is padding. places: (B, L), rows of ``vectors`` (·, d) that hold the ids' vectors.
      along: further (B, L) tensors to be cut the same way.

    Returns:
      The outputs (T, d) at the T real positions, and each of ``along`` at the same positions (T,).
    """
    length = tf.reduce_sum(tf.cast(ids > 0, tf.int32), axis=1)
    parts: list[list[tf.Tensor]] = []
    low = 0
    for group, width in enumerate(widths(ids.shape[1])):
        rows = tf.where((length > low) & (length <= width))[:, 0]
        cut = [tf.gather(t, rows)[:, -width:] for t in (ids, places, *along)]
        mask = cut[0] > 0
        outputs = body(tf.gather(vectors, cut[1]), mask, group)
        parts.append([tf.boolean_mask(t, mask) for t in (outputs, *cut[2:])])
        low = width
    return tuple(tf.concat(column, axis=0) for column in zip(*parts, strict=True))
