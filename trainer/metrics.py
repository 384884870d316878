"""Ranking metrics of one relevant item among a whole catalogue, with ties taken at their expectation.

A user's outcome is two counts: ``above``, candidates that score higher than the target, and ``tied``, other
candidates that score the same. Tied items stand in random order, so the target's place is uniform in
[above, above + tied] and each metric is its mean over those places: a constant scorer scores at chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf


def outcomes(scores: tf.Tensor, target: tf.Tensor, candidate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts who beats and who ties the target, inside a graph or outside.

    Args:
      scores: (B, N). target: (B,) index of each row's relevant item. candidate: (B, N) bool, what is ranked; the
        target counts as a candidate whatever it says.

    Returns:
      above, tied: (B,) int64; ``above`` is −1 where a candidate's or the target's score is NaN.
    """
    scores = tf.convert_to_tensor(scores)
    own = tf.gather(scores, target, batch_dims=1)[:, None]
    mine = tf.range(tf.shape(scores)[1])[None] == tf.cast(target, tf.int32)[:, None]
    others = candidate & ~mine
    broken = tf.reduce_any(tf.math.is_nan(scores) & (others | mine), axis=1)
    above, tied = _count((scores > own) & others), _count((scores == own) & others)
    return tf.where(broken, tf.constant(-1, tf.int64), above), tied


def recall(above: np.ndarray, tied: np.ndarray, k: int) -> np.ndarray:
    """Recall@k, the chance that the target is among the first k places."""
    return _expected(np.ones(k), above, tied)


def ndcg(above: np.ndarray, tied: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k with one relevant item: 1 / log2(place + 2), place from 0, and 0 from place k on."""
    return _expected(1.0 / np.log2(np.arange(k) + 2.0), above, tied)


def mrr(above: np.ndarray, tied: np.ndarray, k: int) -> np.ndarray:
    """MRR@k: 1 / (place + 1), and 0 from place k on."""
    return _expected(1.0 / (np.arange(k) + 1.0), above, tied)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {"recall": recall, "ndcg": ndcg, "mrr": mrr}


def per_user(above: np.ndarray, tied: np.ndarray, cutoffs: Iterable[int]) -> dict[str, np.ndarray]:
    """Every metric at every cut-off, one value a user: {"recall@5": (U,), …}."""
    return {f"{name}@{k}": metric(above, tied, k) for k in cutoffs for name, metric in METRICS.items()}


def _count(where: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(where, axis=1)


def _expected(gain: np.ndarray, above: np.ndarray, tied: np.ndarray) -> np.ndarray:
    k = len(gain)
    total = np.concatenate([[0.0], np.cumsum(gain)])
    first, last = np.minimum(above, k), np.minimum(above + tied + 1, k)
    return (total[last] - total[first]) / (tied + 1)
