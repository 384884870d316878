"""Cross-fitting: a session is rewarded by a ranker that was not trained on it, and so cannot know its click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feature_store.checks import at_least
from feature_store.errors import DataError
from feature_store.hashing import uniform

_SALT = "cross-fit"


def fold_of(session_id: str, folds: int) -> int:
    """The fold of a session, from 0 to folds − 1: a function of its id and the number of folds alone."""
    return int(uniform(_SALT, session_id) * folds)


def folds_of(session_ids: Sequence[str], folds: int) -> np.ndarray:
    """(n,) int64, `fold_of` each.

    Raises:
        ValueError: fewer than two folds, with which every ranker would have seen what it rewards.
    """
    at_least("folds", folds, 2)
    return np.fromiter((fold_of(session, folds) for session in session_ids), np.int64, len(session_ids))


def require_held_out(session_ids: Sequence[str], left_out: Sequence[int], folds: int, file: object = "") -> None:
    """That every session was scored by the ranker that left its fold out of training.

    Args:
        left_out: (n,) of each row, the fold that its ranker was not trained on.
    Raises:
        DataError: naming the first session of which this is not so.
    """
    wrong = np.flatnonzero(folds_of(session_ids, folds) != np.asarray(left_out, np.int64))
    if len(wrong):
        row = int(wrong[0])
        rule = f"session {session_ids[row]!r} was scored by a ranker that was trained on it: its fold is "
        rule += f"{fold_of(session_ids[row], folds)} of {folds}, its ranker left out"
        raise DataError(rule, file=file, field="fold", value=int(left_out[row]))
