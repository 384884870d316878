"""How like a user's items an item is by what is known of both: the cosine of their knowledge, added to a score.

It is added to answers alone and not to what training minimises. A backbone fits its last targets of training far better
than it will those of tomorrow, and what is learnt beside it from them is that knowledge has nothing to tell
(docs/results/coco.md, "What titles could tell"). Its weight is for validation to choose.
"""

from __future__ import annotations

import tensorflow as tf

FADING = 0.7
"""What an item of a history weighs of the next newer one."""


def coordinates(knowledge: tf.Tensor) -> tf.Tensor:
    """Rows of items' knowledge (n, W) -> of length 1; an item without any keeps 0, and is like nothing."""
    return tf.math.l2_normalize(knowledge, axis=-1)


def of_users(history: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """The direction of the users' items, the newest weighing most.

    Args:
      history: (B, L) indices, right-aligned, 0 at padding. items: their `coordinates` (N, W).

    Returns:
      (B, W) of length 1, or 0 for a user of whose items nothing is known.
    """
    length = tf.shape(history)[1]
    weights = tf.pow(FADING, tf.cast(tf.range(length - 1, -1, -1), items.dtype))
    weights = tf.where(history > 0, weights, 0.0)
    return tf.math.l2_normalize(tf.einsum("bl,blw->bw", weights, tf.gather(items, history)), axis=-1)
