"""How far two samples' distributions are apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distance:
    """
    Attributes:
        psi: population stability index, sum of (p - q) ln(p / q) over bins, half a count added to each.
        divergence: Jensen-Shannon's, in bits, from 0 to 1, of categories; else 0.
        ks: Kolmogorov-Smirnov's statistic, from 0 to 1, of numbers; else 0.
        p_value: of both samples being of one distribution, rows taken as independent (KS, or chi-square).
    """

    psi: float
    divergence: float
    ks: float
    p_value: float


def numbers(reference: np.ndarray, served: np.ndarray, bins: int = 10) -> Distance:
    """Of two samples (n,), (m,) of numbers, neither empty; the PSI's bins are the reference's quantiles."""
    from scipy import stats

    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    binned = [np.searchsorted(edges, side, "left") for side in (reference, served)]
    counts = [np.bincount(side, minlength=len(edges) + 1) for side in binned]
    found = stats.ks_2samp(reference, served, method="asymp")
    return Distance(psi(*counts), 0.0, float(found.statistic), float(found.pvalue))


def categories(reference: Iterable[Hashable], served: Iterable[Hashable], most: int = 100) -> Distance:
    """Of two samples of categories, neither empty; those beyond the reference's `most` frequent ones count as one."""
    from scipy import stats

    known = Counter(reference)
    kept = [value for value, _ in sorted(known.items(), key=lambda entry: (-entry[1], str(entry[0])))[:most]]
    sides = [known, Counter(served)]
    counts = np.array([[side[value] for value in kept] for side in sides], np.int64)
    rest = [[side.total() - row.sum()] for side, row in zip(sides, counts, strict=True)]
    counts = np.hstack([counts, rest])
    seen = counts[:, counts.sum(axis=0) > 0]
    p_value = float(stats.chi2_contingency(seen, correction=False).pvalue) if seen.shape[1] > 1 else 1.0
    return Distance(psi(*seen), jensen_shannon(*seen), 0.0, p_value)


def psi(reference: np.ndarray, served: np.ndarray) -> float:
    """Population stability index of counts (bins,), half a count added to each."""
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (reference, served))
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(reference: np.ndarray, served: np.ndarray) -> float:
    """Jensen-Shannon divergence of counts (bins,), in bits."""
    p, q = (counts / counts.sum() for counts in (reference, served))
    middle = (p + q) / 2
    return float(sum((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum() / 2 for side in (p, q)))
