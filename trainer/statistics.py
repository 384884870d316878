"""Intervals and paired tests over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


def interval(values: np.ndarray, resamples: int, seed: int = 0) -> Interval:
    """The mean of ``values`` (U,), its interval by resampling users with replacement (percentile bootstrap)."""
    low, high = _percentiles(values, resamples, seed)
    return Interval(float(values.mean()), low, high)


@dataclass(frozen=True)
class Comparison:
    """b − a over the same users: the mean difference, its 95% bootstrap interval, and a two-sided p value."""

    difference: float
    low: float
    high: float
    p_value: float


def paired(a: np.ndarray, b: np.ndarray, resamples: int, seed: int = 0) -> Comparison:
    """Compares two models' values (U,) on the same users.

    The p value is of a sign-flip permutation test: under the null a user's difference is as likely to have either
    sign.

    Raises:
      ValueError: the two do not have the same users.
    """
    if a.shape != b.shape:
        raise ValueError(f"a paired test needs the same users on both sides, got {a.shape} and {b.shape}")
    difference = b - a
    low, high = _percentiles(difference, resamples, seed)
    if not difference.any():
        return Comparison(0.0, low, high, 1.0)
    moved = difference[difference != 0]  # a zero has no sign to flip
    test = stats.permutation_test(
        (moved,), np.mean, permutation_type="samples", vectorized=True, n_resamples=max(resamples, 1000),
        batch=100, rng=np.random.default_rng(seed),
    )
    return Comparison(float(difference.mean()), low, high, float(test.pvalue))


def _percentiles(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    share = np.full(len(values), 1.0 / len(values))
    # A resample is the number of times each user is drawn: one draw of a multinomial.
    means = [random.multinomial(len(values), share) @ values / len(values) for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
