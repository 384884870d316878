"""Intervals and tests of metrics that are no plain mean over users."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.calibration import Calibration
from trainer.requests import metrics as request_metrics
from trainer.requests import statistics as request_statistics
from trainer.requests.scores import Scored


def scored(user, logits, labels):
    column = np.array(logits, float)[:, None]
    names = np.array([f"u{one}" for one in user])
    number = np.arange(len(user))
    return Scored(names, number.astype(str), number, np.ones_like(column, bool), np.array(labels, float)[:, None],
                  column, {})  # fmt: skip


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=3, max_size=25)


@settings(max_examples=25)
@given(rows, st.integers(0, 1000))
def test_a_resample_is_judged_as_if_its_users_stood_there_as_often(found, seed):
    user, logits, labels = (np.array(column) for column in zip(*found, strict=True))
    measures = request_statistics.measures(scored(user, logits, labels), Calibration())
    counts = np.random.default_rng(seed).integers(0, 3, len(measures.users))
    times = dict(zip(measures.users, counts, strict=True))
    drawn = [(k, u, z, y) for u, z, y in zip(user, logits, labels, strict=True) for k in range(times[f"u{u}"])]
    if not drawn:
        return
    copy, who, z, y = (np.array(column) for column in zip(*drawn, strict=True))
    repeated = request_metrics.user_aucs(np.array([f"{u}-{k}" for u, k in zip(who, copy, strict=True)]), z, y)
    expected = {"auc": request_metrics.auc(z.astype(float), y), **repeated.means(),
                **request_metrics.of_probabilities(1 / (1 + np.exp(-z.astype(float))), y.astype(float))}  # fmt: skip
    for name, measure in measures.of.items():
        np.testing.assert_allclose(measure(counts), expected[name], rtol=1e-6, err_msg=name)


def test_paired_differences_are_found_and_noise_is_not():
    random = np.random.default_rng(1)
    user = np.repeat(np.arange(60), 12)
    labels = random.random(len(user)) < 0.3
    taste = labels + random.normal(0, 1, len(user))
    one, two, other = (scored(user, z, labels) for z in (
        taste + random.normal(0, 2, len(user)), taste, taste + random.normal(0, 2, len(user))))  # fmt: skip
    sides = [request_statistics.measures(each, Calibration()) for each in (one, two, other)]
    better = request_statistics.paired(sides[0], sides[1], 200)
    for name in ("auc", "gauc", "gauc_users", "gauc_positives"):
        assert better[name].difference > 0 and better[name].low > 0 and better[name].p_value < 0.02
    assert request_statistics.paired(sides[0], sides[2], 200)["gauc"].p_value > 0.05
    interval = request_statistics.intervals(sides[1], 200)["gauc"]
    assert interval.low < interval.mean < interval.high
    with pytest.raises(ValueError, match="same users"):
        request_statistics.paired(sides[0], request_statistics.measures(two.where(user > 5), Calibration()), 10)


def test_several_models_of_one_kind_are_one_whose_users_have_their_mean():
    user, labels = [0, 0, 1, 1, 1], np.array([1, 0, 1, 0, 0])
    each = [scored(user, z, labels) for z in ([1, 0, 1, 2, 0], [0, 1, 2, 1, 0])]
    sides = [request_statistics.measures(one, Calibration()) for one in each]
    mean = request_statistics.mean_of(sides)
    # User 0: AUC 1 and 0. User 1: 0.5 and 1. Weights 2 and 3.
    assert mean.values()["gauc"] == pytest.approx((2 * 0.5 + 3 * 0.75) / 5)
    assert mean.values()["gauc_users"] == pytest.approx(0.625) and "auc" not in mean.of
    tested = request_statistics.paired(mean, sides[1], 50)["gauc"]
    assert tested.difference == pytest.approx(sides[1].values()["gauc"] - mean.values()["gauc"])
    with pytest.raises(ValueError, match="other weights"):
        other = scored([0, 0, 1, 1, 1], [1, 0, 1, 2, 0], np.array([1, 0, 1, 1, 0]))
        request_statistics.mean_of([sides[0], request_statistics.measures(other, Calibration())])


def test_where_nothing_can_be_told_nothing_is_significant():
    alone = scored([1, 1, 2], [0.1, 0.2, 0.3], [0, 0, 0])
    found = request_statistics.paired(*(request_statistics.measures(alone, Calibration()) for _ in range(2)), 50)
    assert np.isnan(found["auc"].difference) and found["auc"].p_value == 1
    assert np.isnan(found["gauc"].difference) and found["gauc"].p_value == 1
