"""Intervals and paired tests of metrics that are no plain mean over users: GAUC, AUC, calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.calibration import Calibration
from trainer.requests.metrics import of_lists, user_aucs
from trainer.requests.scores import Scored
from trainer.statistics import Comparison, Interval, sign_flip

Measure = Callable[[np.ndarray], float]
"""How often each of the U users is counted (U,) -> a metric."""


@dataclass(frozen=True)
class Measures:
    """The metrics of a model on the candidates of U users, by name."""

    users: np.ndarray  # (U,)
    of: Mapping[str, Measure]
    shares: Mapping[str, np.ndarray]  # of metrics that are Σ w a / Σ w: w a (U,) and w (U,), stacked; 0 where none

    def values(self) -> dict[str, float]:
        """Each user counted once."""
        ones = np.ones(len(self.users))
        return {name: measure(ones) for name, measure in self.of.items()}


def measures(scored: Scored, calibration: Calibration) -> Measures:
    """Of AUC, GAUC in three weightings, log loss, calibration, and of lists where there are lists: see
    ``metrics``. Log loss and calibration are of calibrated probabilities; a list's metric is a mean over
    requests."""
    there = scored.present
    names, of_request = np.unique(scored.user, return_inverse=True)
    of = np.broadcast_to(of_request[:, None], there.shape)[there]  # the user of each candidate
    logits, labels = scored.logits[there], scored.labels[there] > 0
    each = user_aucs(of, logits, labels)
    shares = {}
    for name, weight in each.weights().items():
        part = np.zeros((2, len(names)))
        part[:, each.user] = weight * each.auc, weight
        shares[name] = part
    p = np.clip(calibration.probability(logits), 1e-7, 1 - 1e-7)
    lost = -np.where(labels, np.log(p), np.log1p(-p))
    count = len(names)
    shares["log_loss"] = np.stack([np.bincount(of, lost, count), np.bincount(of, minlength=count)])
    shares["calibration"] = np.stack([np.bincount(of, p, count), np.bincount(of, labels, count)])
    if there.shape[1] > 1:
        rows = np.flatnonzero(((scored.labels > 0) & there).any(axis=1))  # the requests that a list's metric is of
        for name, values in of_lists(scored).items():
            of_user = of_request[rows]
            shares[name] = np.stack([np.bincount(of_user, values, count), np.bincount(of_user, minlength=count)])
    ratios = {name: _ratio(part) for name, part in shares.items()}
    return Measures(names, {"auc": _auc(of, logits, labels), **ratios}, shares)


def mean_of(several: Sequence[Measures]) -> Measures:
    """Several models of one kind as one: each user's share of each metric is the mean of theirs. AUC, which no user has
    a share of, is left out.

    Raises:
      ValueError: they are not of the same users and requests.
    """
    first, shares = several[0], {}
    for name in first.shares:
        parts = [each.shares.get(name) for each in several]
        if any(part is None or not np.array_equal(part[1], parts[0][1]) for part in parts):
            raise ValueError(f"a mean needs the same requests of the same users: {name} has other weights")
        shares[name] = np.mean(parts, axis=0)
    return of_shares(first.users, shares)


def of_shares(users: np.ndarray, shares: Mapping[str, np.ndarray]) -> Measures:
    """The metrics that users have a share of; see ``Measures``."""
    return Measures(users, {name: _ratio(part) for name, part in shares.items()}, shares)


def intervals(found: Measures, resamples: int, seed: int = 0) -> dict[str, Interval]:
    """Each metric with its 95% interval by resampling users with replacement (percentile bootstrap)."""
    drawn = {name: [] for name in found.of}
    for counts in _draws(len(found.users), resamples, seed):
        for name, measure in found.of.items():
            drawn[name].append(measure(counts))
    return {name: Interval(value, *_bounds(drawn[name])) for name, value in found.values().items()}


def paired(a: Measures, b: Measures, resamples: int, seed: int = 0) -> dict[str, Comparison]:
    """b − a over the same users, each metric with its interval over the same resamples.

    The p value is, of a metric that is a weighted mean of users' own, that of a sign-flip permutation test on what each
    user adds to the difference; of AUC, twice the share of resamples on the other side of 0.

    Raises:
      ValueError: the two are not of the same users.
    """
    if not np.array_equal(a.users, b.users):
        raise ValueError(f"a paired test needs the same users on both sides, got {len(a.users)} and {len(b.users)}")
    drawn = {name: [] for name in a.of}
    for counts in _draws(len(a.users), resamples, seed):
        for name in a.of:
            drawn[name].append(b.of[name](counts) - a.of[name](counts))
    one, two = a.values(), b.values()
    found = {}
    for name in a.of:
        low, high = _bounds(drawn[name])
        if name in a.shares and np.array_equal(a.shares[name][1], b.shares[name][1]):
            p = sign_flip(b.shares[name][0] - a.shares[name][0], resamples, seed)
        else:
            values = np.array([value for value in drawn[name] if not np.isnan(value)] or [0.0])
            p = 2 * min((values <= 0).mean(), (values >= 0).mean())
        found[name] = Comparison(two[name] - one[name], low, high, float(min(max(p, 1 / resamples), 1.0)))
    return found


def fusion(scored: Scored) -> float | None:
    """The mean of α_fusion over the candidates that are there; None of a model without one."""
    return float(scored.told["fusion"][scored.present].mean()) if "fusion" in scored.told else None


def _draws(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    random, share = np.random.default_rng(seed), np.full(users, 1.0 / users)
    for _ in range(resamples):
        yield random.multinomial(users, share)


def _bounds(values: list[float]) -> tuple[float, float]:
    kept = [value for value in values if not np.isnan(value)]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (np.nan, np.nan)
    return float(low), float(high)


def _ratio(part: np.ndarray) -> Measure:
    def measure(counts: np.ndarray) -> float:
        above, below = part @ counts
        return float(above / below) if below else float("nan")

    return measure


def _auc(of: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Measure:
    """Of each positive the negatives below it, and half of those level with it, are found once: a resample then adds up
    how often their users are counted."""
    positive, negative = logits[labels], logits[~labels]
    order = np.argsort(negative, kind="stable")
    of_positive, of_negative, negative = of[labels], of[~labels][order], negative[order]
    below, level = (np.searchsorted(negative, positive, side) for side in ("left", "right"))

    def measure(counts: np.ndarray) -> float:
        seen = np.concatenate([[0.0], np.cumsum(counts[of_negative], dtype=float)])
        weights = counts[of_positive]
        pairs = weights.sum() * seen[-1]
        return float(weights @ (seen[below] + seen[level]) / (2 * pairs)) if pairs else float("nan")

    return measure
