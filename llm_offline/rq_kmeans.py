"""RQ-KMeans (Luo et al. 2024; ChoirRec Eqs. 2 and 3): k-means of vectors, then of what is left of them, M times."""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np

from feature_store.checks import require
from llm_offline.profile_config import GroupConfig


class Assigned(NamedTuple):
    """``codes`` (n, M) int32; ``errors`` (M + 1,), the sum of ||r||^2 over all vectors before and after each level."""

    codes: np.ndarray
    errors: np.ndarray


def fit(vectors: np.ndarray, config: GroupConfig) -> np.ndarray:
    """Centroids (M, k, D) of vectors (n, D). The same vectors in the same order give the same centroids.

    Raises:
        ValueError: there are fewer vectors than centroids.
    """
    count, width = vectors.shape
    require(count >= config.k, f"{config.section}.k", f"must be at most the users it learns from ({count})", config.k)
    levels = np.empty((config.levels, config.k, width), np.float32)
    left = np.array(vectors, np.float32)
    for level in range(config.levels):
        means = faiss.Kmeans(
            width, config.k, niter=config.iterations, seed=config.seed + level, min_points_per_centroid=1,
            max_points_per_centroid=count,
        )  # fmt: skip
        means.train(left)
        levels[level] = means.centroids
        left -= levels[level][_nearest(left, levels[level])]  # Eq. 3
    return levels


def assign(levels: np.ndarray, vectors: np.ndarray) -> Assigned:
    """The codes of vectors (n, D) under centroids (M, k, D)."""
    left = np.array(vectors, np.float32)
    codes = np.empty((len(left), len(levels)), np.int32)
    errors = [_squares(left)]
    for level, centroids in enumerate(levels):
        codes[:, level] = _nearest(left, centroids)  # Eq. 2
        left -= centroids[codes[:, level]]  # Eq. 3
        errors.append(_squares(left))
    return Assigned(codes, np.array(errors))


def _nearest(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Eq. 2: (n,) number of the nearest centroid."""
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids))
    return index.search(np.ascontiguousarray(vectors), 1)[1][:, 0]


def _squares(vectors: np.ndarray) -> float:
    return float(np.einsum("nd,nd->", vectors, vectors, dtype=np.float64))
