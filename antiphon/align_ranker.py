"""What the alignment asks of the rankers that it teaches and is taught by."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from antiphon.config import Config


class Ranker(Protocol):
    """What the module that `align.ranker` names has to offer; its folders' manifests say what they are made of."""

    def settings(self, config: Config) -> Any:
        """What of the config its rankers depend on, as JSON can write it."""

    def train(self, config: Config, queries: Path, out: Path) -> dict[str, Any]:
        """Trains a ranker on all sessions of the training split, and for each fold k of ``align.folds`` one on those
        whose `cross_fit.fold_of` is not k, into the folder ``out``.

        ``queries`` has the sessions' query vectors. Returns a summary; ``metrics`` in it, name to number, are told.
        """

    def reward(
        self, config: Config, candidates: Path, vectors: Path, rankers: Path, out: Path
    ) -> dict[str, Any]:
        """Writes `alignment_tables`' ``rewards`` of every candidate that has a vector: the session's own fold's ranker
        with the candidate's vector in the query's place. The manifest has ``folds`` and ``ranker``, a version."""

    def questions(self, config: Config, rankers: Path, out: Path, count: int) -> None:
        """Writes JSON lines of ``session_id`` and ``query``: for each session to train on ``count`` queries that mean
        what its own fold's ranker puts first. Only teachers of kind ``ranker`` ask for that."""
