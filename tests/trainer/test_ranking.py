import numpy as np
import pytest

from trainer.input import Held
from trainer.ranking import Outcomes, rank

SCORES = np.array([[9.0, 3.0, 5.0, 3.0, 8.0], [9.0, 1.0, 2.0, 3.0, 4.0]], np.float32)


def held(targets, seen):
    rows, items = zip(*seen, strict=True)
    users = np.array([b"a", b"b"])
    return Held(users, np.zeros((2, 1), np.int32), np.array(targets, np.int32), np.array(rows), np.array(items))


def test_padding_and_what_a_user_has_seen_are_left_out_but_never_the_target():
    # Row 0: item 4 is seen and item 0 is padding, so 2 beats the target 1, and 3 ties with it.
    # Row 1: the target is seen, and 4 beats it.
    found = rank([held([1, 3], [(0, 4), (0, 0), (1, 3), (1, 1)])], lambda rows: SCORES)
    assert found.above.tolist() == [1, 1] and found.tied.tolist() == [1, 0]
    assert found.user.tolist() == [b"a", b"b"] and found.target.tolist() == [1, 3]


def test_a_target_that_is_no_item_is_behind_all_of_them():
    found = rank([held([0, 3], [(0, 4), (1, 1)])], lambda rows: SCORES)
    assert found.above.tolist() == [5, 1] and found.tied.tolist() == [0, 0]


def test_batches_are_merged_in_their_order():
    one, two = held([1, 3], [(0, 4)]), held([4, 2], [(1, 1)])
    found = rank([one, two], lambda rows: SCORES)
    assert found.target.tolist() == [1, 3, 4, 2]
    assert found.above.tolist() == [1, 1, 0, 2]


def test_a_nan_score_is_refused():
    scores = SCORES.copy()
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match="must not be NaN"):
        rank([held([1, 3], [(0, 4)])], lambda rows: scores)


def test_nothing_to_rank_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        Outcomes.merge([])
