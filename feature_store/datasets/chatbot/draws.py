"""Draws for many rows at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def choose(rng: np.random.Generator, n: int, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """(n,) ids from 1 on, each by its weight; (n, k) weights are one row of them each."""
    weights = np.asarray(weights, float)
    if weights.ndim == 1:
        ends = np.cumsum(weights / weights.sum())
        return np.minimum(np.searchsorted(ends, rng.random(n), side="right"), len(ends) - 1) + 1
    ends = np.cumsum(weights, axis=1)
    return np.minimum((ends < rng.random(n)[:, None] * ends[:, -1:]).sum(1), weights.shape[1] - 1) + 1


def chance(rng: np.random.Generator, n: int, probability: float | np.ndarray) -> np.ndarray:
    """(n,) bool, true with the probability."""
    return rng.random(n) < probability


def yes(flags: np.ndarray) -> np.ndarray:
    """Ids of the dictionary "yes_no"."""
    return flags.astype(np.int64) + 1


def ranges(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of each half-open range one after another, and the offsets (n + 1,) where each range's begin."""
    lengths = np.maximum(ends - starts, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths), offsets
