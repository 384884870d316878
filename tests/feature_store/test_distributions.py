import math

import numpy as np
import pytest

from feature_store.distributions import categories, jensen_shannon, numbers, psi


def test_psi_by_hand():
    p, q = (50.5 / 101, 50.5 / 101), (90.5 / 101, 10.5 / 101)
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert psi(np.array([50, 50]), np.array([90, 10])) == pytest.approx(expected)
    assert psi(np.array([3, 5]), np.array([3, 5])) == 0


def test_jensen_shannon_by_hand():
    assert jensen_shannon(np.array([4, 0]), np.array([0, 9])) == pytest.approx(1.0)
    # p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4)
    expected = (0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2 + math.log2(4 / 3) / 2
    assert jensen_shannon(np.array([1, 1]), np.array([5, 0])) == pytest.approx(expected)


def test_numbers_are_compared_by_ks():
    found = numbers(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    assert found.ks == 0.5  # at 2: half of the first, none of the second
    same = numbers(np.arange(100.0), np.arange(100.0))
    assert (same.ks, same.psi, same.divergence) == (0, 0, 0) and same.p_value == 1


def test_categories_beyond_the_most_frequent_count_as_one():
    reference = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    found = categories(reference, ["a"] * 50 + ["b"] * 30 + ["d"] * 20, most=2)
    assert (found.psi, found.divergence, found.p_value) == (0, 0, 1)
    other = categories(reference, ["d"] * 100)
    assert other.divergence == pytest.approx(1.0) and other.p_value < 1e-10


def test_one_category_on_both_sides_is_no_drift():
    assert categories(["a"], ["a", "a"]).p_value == 1
