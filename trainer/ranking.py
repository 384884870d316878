"""Full ranking of the catalogue for held-out targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import tensorflow as tf

from trainer import metrics
from trainer.input import Held
from trainer.recommender import Recommender

Score = Callable[[Held], np.ndarray]
"""Rows -> scores (B, N) of every item index; index 0 is padding."""


@dataclass(frozen=True)
class Outcomes:
    """Where each user's target came: see ``trainer.metrics``. All (U,)."""

    user: np.ndarray
    target: np.ndarray
    above: np.ndarray
    tied: np.ndarray

    def table(self) -> pa.Table:
        """One row a user."""
        return pa.table({name: getattr(self, name) for name in ("user", "target", "above", "tied")})


def rank(batches: Iterable[Held], score: Score) -> Outcomes:
    """Ranks all items but padding and those the user has seen; the target is ranked even if it was seen before.

    Raises:
      ValueError: there are no rows, or a score is NaN.
    """
    found: list[tuple[np.ndarray, ...]] = []
    for rows in batches:
        scores = score(rows)
        candidate = np.ones(scores.shape, bool)
        candidate[:, 0] = False
        candidate[rows.seen_row, rows.seen_item] = False
        above, tied = metrics.outcomes(scores, rows.target, candidate)
        found.append((rows.user, rows.target, above, tied))
    if not found:
        raise ValueError("there is nothing to rank: the split has no rows")
    return Outcomes(*(np.concatenate(column) for column in zip(*found, strict=True)))


class Scorer:
    """Scores of a recommender whose parameters stay where they are.

    ``refresh`` copies what evaluation needs to this process; on a cluster that is one read of the tables.

    Args:
      slot: score with this slot's values, such as the averaged weights, in place of the parameters.
    """

    def __init__(self, recommender: Recommender, slot: str = "") -> None:
        self.recommender, self.slot = recommender, slot
        length = recommender.config.max_length
        self._vectors = tf.Variable(tf.zeros((recommender.size, recommender.config.d)), trainable=False)

        @tf.function(input_signature=[tf.TensorSpec((None, length), tf.int32)])
        def scores(history: tf.Tensor) -> tf.Tensor:
            return tf.matmul(recommender.embed(history, self._vectors), self._vectors, transpose_b=True)

        self._scores = scores

    def refresh(self) -> None:
        """Takes the parameters as they are now."""
        self._vectors.assign(self.recommender.pull(self.slot))

    def __call__(self, rows: Held) -> np.ndarray:
        return self._scores(rows.history).numpy()
