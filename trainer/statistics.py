"""Intervals and paired tests over users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


def intervals(metrics: Mapping[str, np.ndarray], resamples: int, seed: int = 0) -> dict[str, Interval]:
    """The mean of each metric's values (U,), with its interval by resampling users with replacement (percentile
    bootstrap). All metrics see the same resamples."""
    bounds = _percentiles(metrics, resamples, seed)
    return {name: Interval(float(values.mean()), *bounds[name]) for name, values in metrics.items()}


@dataclass(frozen=True)
class Comparison:
    """b − a over the same users: the mean difference, its 95% bootstrap interval, and a two-sided p value."""

    difference: float
    low: float
    high: float
    p_value: float


def paired(
    a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], resamples: int, seed: int = 0
) -> dict[str, Comparison]:
    """Compares two models' values (U,) of each metric on the same users.

    The p value is of a sign-flip permutation test: under the null a user's difference is as likely to have either
    sign.

    Raises:
      ValueError: the two do not have the same metrics of the same users.
    """
    shapes = [{name: values.shape for name, values in side.items()} for side in (a, b)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"a paired test needs the same users on both sides, got {shapes[0]} and {shapes[1]}")
    differences = {name: b[name] - a[name] for name in a}
    bounds = _percentiles(differences, resamples, seed)
    return {
        name: Comparison(float(values.mean()), *bounds[name], sign_flip(values, resamples, seed))
        for name, values in differences.items()
    }


def sign_flip(differences: np.ndarray, resamples: int, seed: int) -> float:
    """The two-sided p value of the mean of differences (U,): under the null each is as likely to have either sign."""
    moved = differences[differences != 0]  # a zero has no sign to flip
    if len(moved) < 2:  # either sign of a single one is as far from 0
        return 1.0
    resamples, random = max(resamples, 1000), np.random.default_rng(seed)
    if 2 ** len(moved) <= resamples:  # all of them
        test = stats.permutation_test((moved,), np.mean, permutation_type="samples", vectorized=True)
        return float(test.pvalue)

    def flipped(size: tuple[int, int]) -> np.ndarray:
        return moved * (2 * random.integers(2, size=size, dtype=np.int8) - 1)

    test = stats.monte_carlo_test(moved, flipped, np.mean, vectorized=True, n_resamples=resamples, batch=100)
    return float(test.pvalue)


def _percentiles(
    metrics: Mapping[str, np.ndarray], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    random = np.random.default_rng(seed)
    values = np.stack(list(metrics.values()), axis=1)  # (U, metrics)
    share = np.full(len(values), 1.0 / len(values))
    # A resample is the number of times each user is drawn: one draw of a multinomial.
    means = [random.multinomial(len(values), share) @ values / len(values) for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(metrics)}
