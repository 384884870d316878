import numpy as np
import pytest
from scipy import stats

from trainer import statistics


def paired(a, b, resamples):
    return statistics.paired({"recall": a}, {"recall": b}, resamples)["recall"]


def test_every_metric_is_computed_over_the_same_resamples():
    values = np.random.default_rng(0).random(50)
    found = statistics.intervals({"one": values, "half": values / 2}, 200)
    assert found["half"].low == pytest.approx(found["one"].low / 2)
    assert found["half"].high == pytest.approx(found["one"].high / 2)


def test_the_interval_holds_the_mean_and_has_the_width_theory_gives():
    values = np.random.default_rng(0).normal(3.0, 2.0, 4000)
    found = statistics.intervals({"recall": values}, 2000)["recall"]
    half = 1.96 * values.std() / np.sqrt(4000)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_equal_models_differ_by_nothing():
    values = np.array([0.0, 1.0, 0.5])
    found = paired(values, values, 100)
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_a_clear_gain_is_significant_and_a_coin_flip_is_not():
    random = np.random.default_rng(1)
    base = random.random(500)
    assert paired(base, base + 0.1 + 0.1 * random.random(500), 1000).p_value < 0.01
    assert paired(base, base + random.normal(0, 0.1, 500), 1000).p_value > 0.05


def test_one_user_alone_says_nothing():
    found = paired(np.zeros(5), np.array([0.0, 0.0, 1.0, 0.0, 0.0]), 100)
    assert (found.difference, found.p_value) == (0.2, 1.0)


def test_the_p_value_is_that_of_all_sign_flips():
    # Six users, all better by one: of the 64 sign patterns only two are as extreme.
    found = paired(np.zeros(6), np.ones(6), 1000)
    assert found.p_value == pytest.approx(2 / 64)


def test_of_many_users_some_sign_flips_are_drawn_and_the_p_value_is_about_the_normal_one():
    differences = np.random.default_rng(1).normal(size=400)
    differences += 0.1 - differences.mean()
    z = differences.sum() / np.sqrt((differences**2).sum())
    expected = 2 * stats.norm.sf(z)
    assert 0.02 < expected < 0.07
    for sign in (1, -1):
        assert abs(statistics.sign_flip(sign * differences, 4000, 0) - expected) < 0.02
    assert statistics.sign_flip(np.abs(differences), 1000, 0) == pytest.approx(2 / 1001)


def test_users_must_match():
    with pytest.raises(ValueError, match="same users"):
        paired(np.zeros(3), np.zeros(4), 10)
