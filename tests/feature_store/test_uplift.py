import math

import numpy as np
import pytest

from feature_store.hashing import uniform
from feature_store.uplift import Ratio, ratio, sample_ratio, uplift


def test_a_mean_s_variance_is_the_sample_variance_over_n():
    found = ratio(np.array([1.0, 2, 3, 6]), np.ones(4))
    assert found == Ratio(3.0, pytest.approx(14 / 3 / 4), 4)


def test_a_ratio_s_variance_by_hand():
    # R = 3 / 6; residuals n - R d: 0.5, -1, 0.5 (squares sum to 1.5); mean d = 2
    found = ratio(np.array([1.0, 0, 2]), np.array([1.0, 2, 3]))
    assert found == Ratio(0.5, pytest.approx(1.5 / 2 / 3 / 4), 3)


def test_a_ratio_s_variance_is_that_of_many_resamples():
    random = np.random.default_rng(1)
    d = random.integers(1, 6, 400).astype(float)
    n = random.binomial(d.astype(int), random.beta(2, 5, 400)).astype(float)
    picks = random.integers(0, 400, (4000, 400))
    resampled = n[picks].sum(axis=1) / d[picks].sum(axis=1)
    assert ratio(n, d).variance == pytest.approx(resampled.var(), rel=0.1)


def test_uplift_by_hand():
    found = uplift(Ratio(2.0, 0.09, 10), Ratio(3.0, 0.16, 10))
    assert (found.difference, found.relative) == (1.0, 0.5)
    assert (found.low, found.high) == pytest.approx((1 - 1.959964 * 0.5, 1 + 1.959964 * 0.5))
    assert found.p_value == pytest.approx(0.0455003)  # two standard errors
    spread = 1.959964 * math.sqrt(0.16 + 1.5**2 * 0.09) / 2
    assert (found.relative_low, found.relative_high) == pytest.approx((0.5 - spread, 0.5 + spread))


def test_no_variance_and_no_base():
    assert uplift(Ratio(0.0, 0.0, 5), Ratio(0.0, 0.0, 5)).p_value == 1
    found = uplift(Ratio(0.0, 0.0, 5), Ratio(1.0, 0.0, 5))
    assert (found.p_value, found.relative) == (0, None)


def test_sample_ratio_by_hand():
    # (60 - 50)^2 / 50 * 2 = 4 with one degree of freedom
    assert sample_ratio([60, 40], [0.5, 0.5]) == pytest.approx(0.0455003)
    assert sample_ratio([60, 40], [0.3, 0.2]) == pytest.approx(1.0)
    assert sample_ratio([5000, 4600], [0.5, 0.5]) < 0.001


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: ratio(np.ones(1), np.ones(1)), "numerator must be of at least two users"),
        (lambda: ratio(np.ones(2), np.zeros(2)), "denominator must have a sum above 0"),
        (lambda: sample_ratio([0, 0], [0.5, 0.5]), "users must not all be 0"),
        (lambda: sample_ratio([1, 1], [1.0, 0.0]), "shares must be above 0"),
    ],
)
def test_what_has_no_answer_is_refused(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()


def test_in_an_a_a_world_one_in_twenty_is_significant():
    """One world of users who do what they do; 500 salts each split it anew. Nothing differs but the split."""
    users, salts = 400, 500
    random = np.random.default_rng(7)
    requests = 1.0 + random.poisson(3, users)
    hits = random.binomial(requests.astype(int), random.beta(1, 4, users)).astype(float)
    significant = {"mean": 0, "ratio": 0, "sample_ratio": 0}
    for salt in range(salts):
        b = np.array([uniform(str(salt), str(user)) >= 0.5 for user in range(users)])
        significant["sample_ratio"] += sample_ratio([int((~b).sum()), int(b.sum())], [0.5, 0.5]) < 0.05
        for name, over in (("mean", np.ones(users)), ("ratio", requests)):
            found = uplift(ratio(hits[~b], over[~b]), ratio(hits[b], over[b]))
            significant[name] += found.p_value < 0.05
            assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
    spread = math.sqrt(salts * 0.05 * 0.95)
    for name, count in significant.items():
        assert abs(count - salts * 0.05) < 4 * spread, name
