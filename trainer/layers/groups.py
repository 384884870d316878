"""Sequences of like length computed together: the same numbers as one padded batch, with little padding."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def widths(max_length: int) -> tuple[int, ...]:
    """Padded widths used for sequences of up to ``max_length`` items: quarters of powers of two, at most four."""
    return tuple(sorted({max(max_length // k, 1) for k in (8, 4, 2, 1)}))


def by_length(
    body: Callable[..., tf.Tensor], ids: tf.Tensor, *along: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Runs ``body`` on groups of right-aligned sequences, each group cut to its own width.

    Args:
      body: (group number, ids (b, l), then each of ``along`` (b, l)) -> (b, l, d).
      ids: (B, L) int, 0 is padding. along: further (B, L) tensors to be cut the same way.

    Returns:
      The outputs (T, d) at the T positions that are no padding, and ids and each of ``along`` there (T,).
    """
    length = tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=1)
    parts: list[list[tf.Tensor]] = []
    low = 0
    for group, width in enumerate(widths(ids.shape[1])):
        rows = tf.where((length > low) & (length <= width))[:, 0]
        cut = [tf.gather(t, rows)[:, -width:] for t in (ids, *along)]
        parts.append([tf.boolean_mask(t, cut[0] != 0) for t in (body(group, *cut), *cut)])
        low = width
    return tuple(tf.concat(column, axis=0) for column in zip(*parts, strict=True))


def grid(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The row and the column of each place of a matrix."""
    row = tf.broadcast_to(tf.range(shape[0])[:, None], shape)
    return row, tf.broadcast_to(tf.range(shape[1])[None], shape)
