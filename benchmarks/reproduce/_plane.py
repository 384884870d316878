"""Two spaces of vectors laid out in one plane, and how far they lie among each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

SIZE = 1000
NEAREST = 10


def lay(spaces: Mapping[str, np.ndarray], seed: int = 1) -> dict[str, Any]:
    """Spaces of (U, d) -> for each its points by t-SNE of all together, and `mixed`.

    Angles alone count: the spaces have scales of their own. Points are whole numbers from 0 to 1000, "x,y x,y …", so
    that a file of them stays readable.
    """
    from sklearn.manifold import TSNE

    vectors = np.concatenate([normalize(values) for values in spaces.values()])
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    plane = TSNE(2, perplexity=perplexity, metric="cosine", init="random", random_state=seed).fit_transform(vectors)
    low, high = plane.min(axis=0), plane.max(axis=0)
    whole = np.rint((plane - low) / np.maximum(high - low, 1e-12) * SIZE).astype(int)
    ends = np.cumsum([len(values) for values in spaces.values()])[:-1]
    points = {
        name: " ".join(f"{x},{y}" for x, y in part) for name, part in zip(spaces, np.split(whole, ends), strict=True)
    }
    return {**points, "mixed": mixed(spaces)}


def mixed(spaces: Mapping[str, np.ndarray], nearest: int = NEAREST) -> float:
    """Of a vector's nearest others by cosine, the mean share that is of another space; of two spaces of one size about
    0.5 where they are one cloud, and 0 where they lie apart."""
    vectors = np.concatenate([normalize(values) for values in spaces.values()])
    space = np.repeat(np.arange(len(spaces)), [len(values) for values in spaces.values()])
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    count = min(nearest, len(vectors) - 1)
    others = np.argpartition(-near, count - 1, axis=1)[:, :count]
    return float((space[others] != space[:, None]).mean())


def points(text: str) -> list[tuple[float, float]]:
    """What `lay` wrote of one space."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]
