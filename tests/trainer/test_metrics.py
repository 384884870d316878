import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import metrics


def test_outcomes_count_better_and_equal_candidates():
    scores = np.array([[9.0, 3.0, 5.0, 3.0, 1.0]])
    above, tied = metrics.outcomes(scores, np.array([1]), np.array([[False, True, True, True, True]]))
    assert (above.numpy().tolist(), tied.numpy().tolist()) == ([1], [1])


def test_a_seen_target_is_still_ranked():
    above, tied = metrics.outcomes(np.array([[0.0, 2.0, 1.0]]), np.array([2]), np.array([[False, True, False]]))
    assert (above.numpy().tolist(), tied.numpy().tolist()) == ([1], [0])


def test_a_row_with_a_nan_score_that_counts_has_no_place():
    scores = np.array([[np.nan, 1.0, 0.0], [0.0, np.nan, 0.0], [1.0, 1.0, np.nan]])
    candidate = np.array([[True, True, True], [True, False, True], [True, True, False]])
    above, tied = metrics.outcomes(scores, np.array([1, 1, 0]), candidate)
    assert above.numpy().tolist() == [-1, -1, 0] and tied[2] == 1


def test_second_place_by_hand():
    above, tied = np.array([1]), np.array([0])
    assert metrics.recall(above, tied, 5)[0] == 1.0
    assert metrics.ndcg(above, tied, 5)[0] == pytest.approx(1 / np.log2(3))
    assert metrics.mrr(above, tied, 5)[0] == 0.5
    assert metrics.recall(above, tied, 1)[0] == 0.0


def test_a_tie_over_the_cutoff_is_shared():
    # Places 1 and 2 with equal chance, and k = 2 lets in place 1 alone.
    above, tied = np.array([1]), np.array([1])
    assert metrics.recall(above, tied, 2)[0] == 0.5
    assert metrics.mrr(above, tied, 2)[0] == 0.25


@given(items=st.integers(2, 200), k=st.integers(1, 30))
def test_a_constant_scorer_scores_at_chance(items, k):
    scores = np.zeros((1, items))
    above, tied = (n.numpy() for n in metrics.outcomes(scores, np.array([0]), np.ones((1, items), bool)))
    assert metrics.recall(above, tied, k)[0] == pytest.approx(min(k, items) / items)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(1, 8))
def test_ties_equal_the_mean_over_all_orders(values, k):
    scores = np.array([values], float)
    above, tied = (n.numpy() for n in metrics.outcomes(scores, np.array([0]), np.ones_like(scores, bool)))
    places = np.arange(above[0], above[0] + tied[0] + 1)
    gains = np.where(places < k, 1 / np.log2(places + 2), 0)
    assert metrics.ndcg(above, tied, k)[0] == pytest.approx(gains.mean())
