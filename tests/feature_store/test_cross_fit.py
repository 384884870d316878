import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.cross_fit import fold_of, folds_of, require_held_out
from feature_store.errors import DataError


def test_a_fold_is_a_function_of_the_id_alone():
    assert [fold_of(f"s{n}", 4) for n in range(8)] == [fold_of(f"s{n}", 4) for n in range(8)]
    assert (fold_of("s0", 4), fold_of("s1", 4)) == tuple(folds_of(["s0", "s1"], 4))


def test_folds_are_of_like_size():
    counts = np.bincount(folds_of([f"session-{n}" for n in range(4000)], 5), minlength=5)
    assert counts.sum() == 4000 and counts.min() > 700 and len(counts) == 5


@given(st.lists(st.text(min_size=1), unique=True, max_size=50), st.integers(2, 7))
def test_no_session_is_in_the_training_set_of_the_ranker_that_scores_it(sessions, folds):
    fold = folds_of(sessions, folds)
    trained_on = [{s for s, f in zip(sessions, fold, strict=True) if f != left_out} for left_out in range(folds)]
    for session, left_out in zip(sessions, fold, strict=True):
        assert session not in trained_on[left_out]
        assert all(session in others for n, others in enumerate(trained_on) if n != left_out)
    require_held_out(sessions, fold, folds)


def test_a_session_scored_by_its_own_ranker_is_refused():
    sessions = ["a", "b", "c"]
    left_out = folds_of(sessions, 3)
    left_out[1] = (left_out[1] + 1) % 3
    with pytest.raises(DataError, match=r"rewards.parquet, field 'fold': session 'b' was scored by a ranker that was"):
        require_held_out(sessions, left_out, 3, "rewards.parquet")


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match="folds must be at least 2, received 1"):
        folds_of(["a"], 1)
