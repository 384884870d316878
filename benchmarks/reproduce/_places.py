"""Where each user's target came in a row's evaluation, as far as the page's metrics go."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.reproduce._rows import CUTOFFS, Row
from benchmarks.reproduce._users import FOLDER, Kept
from trainer import evaluate
from trainer.ranking import Outcomes


class Places:
    """Of the rows of a reproduction, a file for each data set and split."""

    def __init__(self, name: str, out: Path) -> None:
        self._name, self._folder = name, out / FOLDER

    def put(self, row: Row, evaluated: Path) -> None:
        """Keeps what an evaluation came to. Of a target that is not among the first max(`CUTOFFS`) no more is kept."""
        found = evaluate.outcomes(evaluated)
        order = np.lexsort((found.target, found.user))
        above, tied = (values[order].astype(np.int32) for values in (found.above, found.tied))
        far = above >= max(CUTOFFS)
        places = np.stack([np.where(far, max(CUTOFFS), above), np.where(far, 0, tied)])
        shared = {name: np.asarray(getattr(found, name), "S")[order] for name in ("user", "target")}
        self._kept(row).put(row.name, places, shared)

    def holds(self, row: Row) -> bool:
        return row.name in self._kept(row).rows()

    def of(self, row: Row) -> Outcomes:
        """Users in the order of their ids.

        Raises:
            KeyError: the row is not there.
        """
        (above, tied), shared = self._kept(row).of(row.name)
        return Outcomes(shared["user"], shared["target"], above, tied)

    def _kept(self, row: Row) -> Kept:
        return Kept(self._folder / f"{self._name}_{row.folder}.npz")
