"""Metrics of labelled requests.

Of probabilities and of single candidates, over all R · C that are there:

- ``auc``: the chance that a positive candidate scores above a negative one, a tie counting half.
- ``log_loss``: mean binary cross-entropy. ``calibration``: the sum of predictions over the sum of labels, 1 is right.
- ``ece``: expected calibration error: candidates in order of prediction, cut into ``BINS`` parts of one size; the mean,
  by size, of |mean prediction − mean label|.

Of users, each with an AUC over all of its own candidates; a user whose labels are all one has none and is dropped:

- ``gauc``: the users' mean AUC weighted by their candidates (impressions), ``gauc_positives`` by their positive ones,
  ``gauc_users`` unweighted. ``dropped``: the share of users without an AUC.

Of lists, where some request has more than one candidate: a request's relevant candidates are the set of those with a
positive label, and requests without one are left out; tied candidates stand in random order, and each metric is its
mean over those orders:

- ``recall@k``: the share of the relevant candidates that are among the first k.
- ``hit@k``: whether one of them is.
- ``ndcg@k``: Σ 1 / log2(place + 1) over relevant candidates in the first k places, from 1, over what the same sum is
  where they stand first.
- ``mrr@k``: 1 / place of the first relevant one, 0 where that is beyond k.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata

from trainer.requests.scores import Scored

BINS = 15
CUTOFFS = (1, 3, 5, 10)


def metrics_of(scored: Scored, cutoffs: Iterable[int] = CUTOFFS) -> dict[str, float]:
    """Every metric; those of lists where there are lists, averaged over requests."""
    there = scored.present
    logits, labels = scored.logits[there], scored.labels[there] > 0
    users = user_aucs(np.broadcast_to(scored.user[:, None], there.shape)[there], logits, labels)
    found = {"auc": auc(logits, labels), **users.means(), "dropped": users.dropped}
    found |= of_probabilities(expit(logits), scored.labels[there])
    if there.shape[1] > 1:
        found |= {name: float(values.mean()) for name, values in of_lists(scored, cutoffs).items() if len(values)}
    return found


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """AUC of scores (n,) for labels (n,) bool; NaN where all labels are one."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    above = rankdata(scores)[labels].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


@dataclass(frozen=True)
class UserAucs:
    """Of the U users that have an AUC, in order of their ids."""

    user: np.ndarray  # (U,)
    auc: np.ndarray  # (U,)
    impressions: np.ndarray  # (U,)
    positives: np.ndarray  # (U,)
    dropped: float  # share of all users that have none

    def weights(self) -> dict[str, np.ndarray]:
        """(U,) by metric."""
        ones = np.ones(len(self.user))
        return {"gauc": self.impressions, "gauc_positives": self.positives, "gauc_users": ones}

    def means(self) -> dict[str, float]:
        """GAUC by each weighting; NaN where there is no user."""
        if not len(self.user):
            return dict.fromkeys(self.weights(), float("nan"))
        return {name: float(np.average(self.auc, weights=w)) for name, w in self.weights().items()}


def user_aucs(user: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> UserAucs:
    """Of candidates (n,): whose, their scores, and labels as bool."""
    names, of = np.unique(user, return_inverse=True)
    order = np.lexsort((scores, of))
    of, scores, labels = of[order], scores[order], labels[order]
    count = np.bincount(of, minlength=len(names))
    positives = np.bincount(of, weights=labels, minlength=len(names))
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    # Average ranks within a user: a run of equal scores shares the mean of its places.
    new = np.concatenate([[True], (of[1:] != of[:-1]) | (scores[1:] != scores[:-1])]) if len(of) else np.zeros(0, bool)
    run = np.cumsum(new) - 1
    place = np.arange(len(of)) - first[of] + 1.0
    rank = (np.bincount(run, weights=place) / np.bincount(run))[run] if len(of) else place
    total = np.bincount(of, weights=rank * labels, minlength=len(names))
    negatives = count - positives
    has = (positives > 0) & (negatives > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (total - positives * (positives + 1) / 2) / (positives * negatives)
    return UserAucs(names[has], each[has], count[has], positives[has], 1.0 - float(has.mean()) if len(names) else 0.0)


def of_probabilities(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Log loss, calibration and expected calibration error of predictions (n,) for labels (n,)."""
    sure = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)
    loss = -(labels * np.log(sure) + (1 - labels) * np.log1p(-sure)).mean()
    total = float(labels.sum())
    ratio = float(predicted.sum()) / total if total else float("nan")
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [len(part) * abs(float(predicted[part].mean() - labels[part].mean())) for part in parts]
    return {"log_loss": float(loss), "calibration": ratio, "ece": sum(gaps) / len(order)}


def of_lists(scored: Scored, cutoffs: Iterable[int] = CUTOFFS) -> dict[str, np.ndarray]:
    """One value a request that has a relevant candidate, in their order."""
    relevant = (scored.labels > 0) & scored.present
    rows = np.flatnonzero(relevant.any(axis=1))
    found: dict[str, list[float]] = {f"{name}@{k}": [] for k in cutoffs for name in ("recall", "hit", "ndcg", "mrr")}
    for row in rows:
        there = scored.present[row]
        shares = _places(scored.logits[row][there], relevant[row][there])
        for k in cutoffs:
            for name, value in zip(("recall", "hit", "ndcg", "mrr"), _of_list(*shares, k), strict=True):
                found[f"{name}@{k}"].append(value)
    return {name: np.array(values) for name, values in found.items()}


def _places(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """By place from the first the expected number of relevant candidates there (C,), and the runs of tied candidates
    from the best: (first place from 0, how many, how many of them relevant)."""
    order = np.argsort(-scores, kind="stable")
    scores, relevant = scores[order], relevant[order]
    begins = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
    sizes = np.diff(np.concatenate([begins, [len(scores)]]))
    hits = np.add.reduceat(relevant.astype(int), begins)
    runs = list(zip(begins.tolist(), sizes.tolist(), hits.tolist(), strict=True))
    return np.repeat(hits / sizes, sizes), runs


def _of_list(share: np.ndarray, runs: list[tuple[int, int, int]], k: int) -> tuple[float, float, float, float]:
    """Recall, hit, NDCG and MRR at k of one request: see the module."""
    count, first = int(round(share.sum())), share[:k]
    gain = 1.0 / np.log2(np.arange(2, len(share) + 2))
    recall = first.sum() / count
    ndcg = (first * gain[:k]).sum() / gain[: min(count, k)].sum()
    begin, size, hits = next(run for run in runs if run[2])
    # The first relevant one lies in this run: at its i-th place where the i before it are misses.
    missed, reciprocal, hit = 1.0, 0.0, 0.0
    for i in range(size - hits + 1):
        if begin + i >= k:
            break
        here = missed * hits / (size - i)
        missed -= here
        reciprocal += here / (begin + i + 1)
        hit += here
    return float(recall), float(hit), float(ndcg), float(reciprocal)
