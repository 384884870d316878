"""What an arm of an experiment changes, with its uncertainty over users.

A metric is a ratio of sums over users, sum of n_i over sum of d_i: a mean over users has d_i = 1, a rate a request has
the user's requests. Users are what was randomised, so the variance is over users, by the delta method (Deng et al.,
2018, "Applying the Delta Method in Metric Analytics", section 3): Var(R) = Var(n_i - R d_i) / (U mean(d)^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_store.checks import require


@dataclass(frozen=True)
class Ratio:
    """A metric of one arm, and its variance."""

    value: float
    variance: float
    users: int


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Ratio:
    """Of users' numerators and denominators (U,).

    Raises:
        ValueError: fewer than two users, or denominators that sum to 0.
    """
    users, total = len(numerator), float(denominator.sum())
    require(users >= 2, "numerator", "must be of at least two users", users)
    require(total > 0, "denominator", "must have a sum above 0", total)
    value = float(numerator.sum()) / total
    residuals = numerator - value * denominator  # their mean is 0
    variance = float((residuals**2).sum()) / (users - 1) / users / (total / users) ** 2
    return Ratio(value, variance, users)


@dataclass(frozen=True)
class Uplift:
    """b - a with its interval and two-sided p value (normal), and the same relative to a; None where a is 0."""

    difference: float
    low: float
    high: float
    p_value: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None


def uplift(a: Ratio, b: Ratio, confidence: float = 0.95) -> Uplift:
    """How far arm b is above arm a.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    require(0 < confidence < 1, "confidence", "must be between 0 and 1", confidence)
    from scipy import stats

    z = float(stats.norm.ppf((1 + confidence) / 2))
    difference = b.value - a.value
    error = math.sqrt(a.variance + b.variance)
    p_value = float(2 * stats.norm.sf(abs(difference) / error)) if error else float(difference == 0)
    relative: tuple[float | None, ...] = (None, None, None)
    if a.value:
        change = b.value / a.value - 1
        spread = z * math.sqrt(b.variance + (b.value / a.value) ** 2 * a.variance) / abs(a.value)
        relative = (change, change - spread, change + spread)
    return Uplift(difference, difference - z * error, difference + z * error, p_value, *relative)


def sample_ratio(users: Sequence[int], shares: Sequence[float]) -> float:
    """p value of the arms' users being as many as their shares say (chi-square).

    Raises:
        ValueError: no users, or a share of 0 that has users.
    """
    from scipy import stats

    total, whole = sum(users), sum(shares)
    require(total > 0, "users", "must not all be 0", list(users))
    kept = [(count, total * share / whole) for count, share in zip(users, shares, strict=True) if share or count]
    require(all(expected > 0 for _, expected in kept), "shares", "must be above 0 where there are users", list(shares))
    return float(stats.chisquare(*zip(*kept, strict=True)).pvalue)
