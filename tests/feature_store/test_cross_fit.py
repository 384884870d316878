import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.cross_fit import fold_of, folds_of, require_held_out
from feature_store.errors import DataError


def test_a_fold_is_a_function_of_the_id_alone_the_same_on_every_machine():
    assert [fold_of(f"s{n}", 4) for n in range(8)] == [2, 1, 3, 1, 1, 1, 0, 3]
    assert folds_of(["s7", "s0", "s6"], 4).tolist() == [3, 2, 0]


def test_folds_are_of_like_size():
    counts = np.bincount(folds_of([f"session-{n}" for n in range(4000)], 5), minlength=5)
    assert counts.sum() == 4000 and counts.min() > 700 and len(counts) == 5


@given(st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=50), st.integers(2, 7), st.data())
def test_scores_are_taken_only_where_every_ranker_left_out_the_session_it_scored(sessions, folds, data):
    left_out = [data.draw(st.sampled_from([fold_of(session, folds), 0])) for session in sessions]
    wrong = [session for session, fold in zip(sessions, left_out, strict=True) if fold_of(session, folds) != fold]
    if not wrong:
        require_held_out(sessions, left_out, folds)
        return
    with pytest.raises(DataError) as told:
        require_held_out(sessions, left_out, folds)
    assert f"session {wrong[0]!r} was scored by a ranker that was trained on it" in str(told.value)


def test_a_session_scored_by_its_own_ranker_is_refused():
    sessions = ["a", "b", "c"]
    left_out = folds_of(sessions, 3)
    left_out[1] = (left_out[1] + 1) % 3
    with pytest.raises(DataError, match=r"rewards.parquet, field 'fold': session 'b' was scored by a ranker that was"):
        require_held_out(sessions, left_out, 3, "rewards.parquet")


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match="folds must be at least 2, received 1"):
        folds_of(["a"], 1)
