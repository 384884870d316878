"""Metrics of labelled requests: by hand, and against what their definitions say, computed the slow way."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.requests import metrics as request_metrics
from trainer.requests.scores import Scored


def scored(logits, labels, users=None, present=None):
    logits, labels = np.atleast_2d(np.array(logits, float)), np.atleast_2d(np.array(labels, float))
    count = len(logits)
    users = np.array(users if users is not None else [f"u{i}" for i in range(count)])
    present = np.ones(logits.shape, bool) if present is None else np.atleast_2d(present)
    return Scored(users, np.arange(count).astype(str), np.zeros(count, int), present, labels, logits, {})


def slow_auc(scores, labels):
    pairs = [(a, b) for a, la in zip(scores, labels, strict=True) if la
             for b, lb in zip(scores, labels, strict=True) if not lb]  # fmt: skip
    return np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]) if pairs else np.nan


few = st.integers(0, 3).map(float)


@given(st.lists(st.tuples(st.integers(0, 4), few, st.booleans()), min_size=1, max_size=25))
def test_auc_and_gauc_are_those_of_all_pairs(rows):
    user, scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    np.testing.assert_allclose(request_metrics.auc(scores, labels), slow_auc(scores, labels))
    found = request_metrics.user_aucs(user, scores, labels)
    each = {u: slow_auc(scores[user == u], labels[user == u]) for u in np.unique(user)}
    kept = [u for u, value in each.items() if not np.isnan(value)]
    assert found.user.tolist() == kept
    assert found.dropped == pytest.approx(1 - len(kept) / len(each))
    np.testing.assert_allclose(found.auc, [each[u] for u in kept])
    if kept:
        counts = [(user == u).sum() for u in kept]
        assert found.means()["gauc"] == pytest.approx(np.average([each[u] for u in kept], weights=counts))
        positives = [labels[user == u].sum() for u in kept]
        assert found.means()["gauc_positives"] == pytest.approx(np.average(found.auc, weights=positives))
        assert found.means()["gauc_users"] == pytest.approx(np.mean(found.auc))


def slow_lists(scores, relevant, k):
    """Means over every order that the ties leave."""
    groups = [np.flatnonzero(scores == value) for value in sorted(set(scores), reverse=True)]
    orders = [list(itertools.chain(*parts)) for parts in itertools.product(*map(itertools.permutations, groups))]
    values, count = [], int(relevant.sum())
    for order in orders:
        places = [place for place, item in enumerate(order, 1) if relevant[item]]
        first = [place for place in places if place <= k]
        ideal = sum(1 / np.log2(place + 1) for place in range(1, min(count, k) + 1))
        gain = sum(1 / np.log2(place + 1) for place in first)
        values.append((len(first) / count, bool(first), gain / ideal, 1 / places[0] if places[0] <= k else 0))
    return np.mean(values, axis=0)


@given(st.lists(st.tuples(few, st.booleans()), min_size=1, max_size=6), st.integers(1, 6))
def test_lists_are_judged_over_every_order_of_their_ties(rows, k):
    scores, relevant = (np.array(column) for column in zip(*rows, strict=True))
    found = request_metrics.of_lists(scored(scores, relevant), [k])
    if not relevant.any():
        assert all(len(values) == 0 for values in found.values())
        return
    expected = slow_lists(scores, relevant, k)
    for name, value in zip(("recall", "hit", "ndcg", "mrr"), expected, strict=True):
        np.testing.assert_allclose(found[f"{name}@{k}"], [value], err_msg=name)


def test_probabilities_by_hand():
    found = request_metrics.of_probabilities(np.array([0.5, 0.9]), np.array([1.0, 1.0]))
    assert found["log_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)
    assert found["calibration"] == pytest.approx(0.7)
    assert found["ece"] == pytest.approx((0.5 + 0.1) / 2)  # two candidates are a bin each
    right = request_metrics.of_probabilities(np.full(60, 0.25), np.tile([1.0, 0, 0, 0], 15))
    assert right["calibration"] == pytest.approx(1) and right["ece"] == pytest.approx(0)


def test_padding_counts_nowhere():
    whole = scored([[3.0, 2.0, 9.0], [1.0, 5.0, 4.0]], [[1, 0, 0], [0, 1, 0]], ["a", "a"],
                   [[True, True, False], [True, True, True]])  # fmt: skip
    found = request_metrics.metrics_of(whole)
    assert found["auc"] == pytest.approx(slow_auc(np.array([3, 2, 1, 5, 4.0]), np.array([1, 0, 0, 1, 0])))
    assert found["ndcg@1"] == found["recall@1"] == found["mrr@3"] == 1
    assert found["gauc"] == found["auc"] and found["dropped"] == 0
