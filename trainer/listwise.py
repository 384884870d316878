"""ListNet's loss (Cao et al., ICML 2007) over a session's candidates (RGAlign-Rec Eqs. 5 and 6).

    KL(P_click ‖ P_pred) = Σ_i P_click(i) (log P_click(i) − log P_pred(i)),  P_pred = softmax of the logits

P_click is y / Σ y (``normalized``), or the softmax of y as printed (``softmax``), which gives one click among 1,000
candidates e / (e + 999) of the mass.
"""

from __future__ import annotations

import tensorflow as tf


def list_losses(
    logits: tf.Tensor, labels: tf.Tensor, present: tf.Tensor, target: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Losses (n,) of lists (n, C) whose candidates are ``present``, and whether each counts (n,) bool.

    A list without a positive label tells no order: it does not count, and its loss is 0.
    """
    floor = tf.constant(-1e9, logits.dtype)
    predicted = tf.nn.log_softmax(tf.where(present, logits, floor))
    labels = tf.where(present, labels, 0.0)
    total = tf.reduce_sum(labels, axis=1, keepdims=True)
    if target == "softmax":
        clicked = tf.nn.softmax(tf.where(present, labels, floor))
    else:
        clicked = labels / tf.where(total > 0, total, 1.0)
    each = tf.where(present, tf.math.xlogy(clicked, clicked) - clicked * predicted, 0.0)
    counts = total[:, 0] > 0
    return tf.where(counts, tf.reduce_sum(each, axis=1), 0.0), counts
