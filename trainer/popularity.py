"""Ranking by popularity: the floor under every model, and a check of the protocol."""

from __future__ import annotations

import numpy as np

from trainer.input import Examples, Held, held_out


class ItemPopularity:
    """Scores every item by a count.

    Args:
      counts: (N,) events of each item index.
    """

    def __init__(self, counts: np.ndarray) -> None:
        self.counts = counts.astype(np.float32)

    @classmethod
    def of_training(cls, examples: Examples) -> ItemPopularity:
        """Counts what the users had met before their validation target: the training events."""
        counts = np.zeros(examples.vocabulary.size, np.int64)
        for rows in held_out(examples, "valid", 1, 4096):
            counts += np.bincount(rows.seen_item, minlength=len(counts))
        return cls(counts)

    def __call__(self, rows: Held) -> np.ndarray:
        return np.tile(self.counts, (len(rows.target), 1))
