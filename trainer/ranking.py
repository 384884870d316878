"""Full ranking of the catalogue for held-out targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import tensorflow as tf

from trainer import metrics
from trainer.cluster.work_queue import in_order
from trainer.input import PIECES, Examples, Held, held_out
from trainer.reader import Reader, StoredReader
from trainer.recommender import Recommender

Score = Callable[[Held], np.ndarray]
"""Rows -> scores (B, N) of every item index; index 0 is padding."""


@dataclass(frozen=True)
class Outcomes:
    """Where each user's target came: see ``trainer.metrics``. All (U,).

    Raises:
      ValueError: there are no users, or a score was NaN.
    """

    user: np.ndarray
    target: np.ndarray
    above: np.ndarray
    tied: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.user):
            raise ValueError("there is nothing to rank: the split has no rows")
        if (self.above < 0).any():
            raise ValueError("scores must not be NaN: a model that diverged has no ranking")

    @classmethod
    def merge(cls, parts: Iterable[tuple[np.ndarray, ...]]) -> Outcomes:
        """Of (user, target, above, tied) of some users each, in their order."""
        columns = list(zip(*parts, strict=True)) or [(np.zeros(0),)] * 4
        return cls(*(np.concatenate(column) for column in columns))

    def table(self) -> pa.Table:
        """One row a user."""
        return pa.table({name: getattr(self, name) for name in ("user", "target", "above", "tied")})


class Ranking(Protocol):
    """Ranks the catalogue for the rows of a split, wherever the work is done."""

    def refresh(self) -> None:
        """Takes the parameters as they are now."""

    def rank(self, split: str) -> Outcomes:
        """In the order of the split's files. Raises ValueError as ``Outcomes`` does."""


def places(scores: tf.Tensor, rows: Held) -> tuple[tf.Tensor, tf.Tensor]:
    """Ranks all items but padding and those the user has seen; the target is ranked even if it was seen before.

    A target that the vocabulary has not is behind all items.

    Args:
      scores: (B, N).

    Returns:
      above, tied: (B,), see ``metrics.outcomes``.
    """
    items = tf.broadcast_to(tf.range(tf.shape(scores)[1]) > 0, tf.shape(scores))
    row, item = tf.cast(rows.seen_row, tf.int64), tf.cast(rows.seen_item, tf.int64)
    seen = tf.stack([row, item], axis=1)
    candidate = tf.tensor_scatter_nd_update(items, seen, tf.zeros(tf.shape(row), tf.bool))
    above, tied = metrics.outcomes(scores, rows.target, candidate)
    known = tf.convert_to_tensor(rows.target) > 0
    last = tf.fill(tf.shape(above), tf.shape(scores, out_type=tf.int64)[1])
    return tf.where(known | (above < 0), above, last), tf.where(known, tied, tf.zeros_like(tied))


def rank(batches: Iterable[Held], score: Score) -> Outcomes:
    """Ranks in this process, with any scores. Raises ValueError as ``Outcomes`` does."""
    parts = []
    for rows in batches:
        above, tied = places(score(rows), rows)
        parts.append((rows.user, rows.target, above.numpy(), tied.numpy()))
    return Outcomes.merge(parts)


class LocalRanking:
    """Ranks in this process; ``refresh`` copies what that needs out of the tables.

    Args:
      slot: score with this slot's values, such as the averaged weights, in place of the parameters.
      batch: rows scored at once. keep: hold a split's rows in memory once they are read.
      reader: of what is known of the users, for a recommender that uses it.
    """

    def __init__(
        self,
        examples: Examples,
        recommender: Recommender,
        slot: str = "",
        batch: int = 1024,
        keep: bool = False,
        reader: Reader | StoredReader | None = None,
    ) -> None:
        self._examples, self._recommender, self._slot = examples, recommender, slot
        self._batch, self._keep = batch, keep
        self._rows: dict[str, list[Held]] = {}
        self._length = recommender.config.max_length
        self._vectors = tf.Variable(tf.zeros((recommender.size, recommender.width)), trainable=False)

        client = reader.client() if reader and reader.asks else None

        @tf.function(input_signature=[tf.TensorSpec((None, self._length), tf.int32), *PIECES], autograph=False)
        def scores(history: tf.Tensor, *pieces: tf.Tensor) -> tf.Tensor:
            return recommender.scores(history, self._vectors, reader and reader.through(client, pieces))

        self._scores = scores

    def refresh(self) -> None:
        """See ``Ranking``."""
        self._vectors.assign(self._recommender.pull(self._slot))

    def rank(self, split: str) -> Outcomes:
        """See ``Ranking``."""
        rows = self._rows.get(split) or held_out(self._examples, split, self._length, self._batch)
        if self._keep:
            rows = self._rows[split] = list(rows)
        units = iter(in_order(self._examples.shards(split), self._batch))
        return rank(rows, lambda held: self._scores(held.history, *next(units).arguments()[:3]))
