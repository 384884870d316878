"""The market's goods and the tastes of its segments, before anybody comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_store.market.catalogue import QUALITIES, SEGMENTS, SYLLABLES, TREE
from feature_store.market.config import MarketConfig

DIMENSIONS = 16  # d, of tastes
BRANCHES = 4  # of each segment
_BRANDS = 48
_QUERIES = 12  # texts that search for a leaf
_SHARP = 0.7  # temperature of the choice of a leaf by taste


def random(config: MarketConfig, stream: int, number: int = 0) -> np.random.Generator:
    """Random numbers of a stream of their own: neither what others draw nor how users are cut changes them."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([config.seed, stream, number])))


@dataclass(frozen=True)
class World:
    """L leaves, I items (J a leaf, leaf by leaf), S segments' branches, T days.

    Attributes:
        names: of the leaves, (top, leaf). ids: (I,) of the items. queries: (L, _QUERIES) texts. titles, brands: (I,).
        price: (I,). level: (I,) log price within its leaf, quality: (I,), both of variance 1.
        appeal: (T, I) on each day. shelf: (T * L, J) running sum of what the items of a leaf are shown, from 0 to 1.
        leaf_vectors: (L, d), item_vectors: (I, d), of length 1.
        leaf_taste: (S, L), taste: (S, I), turned: (S, I) where the taste drifts to; each row of mean 0, variance 1.
        popularity: (L,) log share of the leaves.
    """

    names: list[tuple[str, str]]
    ids: pa.Array
    queries: np.ndarray
    titles: np.ndarray
    brands: np.ndarray
    price: np.ndarray
    level: np.ndarray
    quality: np.ndarray
    appeal: np.ndarray
    shelf: np.ndarray
    leaf_vectors: np.ndarray
    item_vectors: np.ndarray
    leaf_taste: np.ndarray
    taste: np.ndarray
    turned: np.ndarray
    popularity: np.ndarray

    def items(self) -> pa.Table:
        """The items' table."""
        per_leaf = len(self.titles) // len(self.names)
        return pa.table(
            {
                "item_id": self.ids,
                "title": self.titles.tolist(),
                "categories": [list(name) for name in self.names for _ in range(per_leaf)],
                "price": pa.array(self.price.round(2), pa.float32()),
                "brand": self.brands.tolist(),
            }
        )


def make(config: MarketConfig) -> World:
    """The world of a seed; the number of users has no part in it."""
    draw = random(config, 0)
    names = [(top, leaf) for top, leaves in TREE.items() for leaf in leaves]
    tops, leaves, per_leaf = list(TREE), len(names), config.items_per_leaf
    of_leaf = np.repeat(np.arange(leaves), per_leaf)  # (I,)
    items = len(of_leaf)

    top_vectors = _unit(draw.standard_normal((len(tops), DIMENSIONS)))
    of_top = np.array([tops.index(top) for top, _ in names])  # (L,)
    leaf_vectors = _mixed(draw, top_vectors[of_top], 0.6)
    item_vectors = _mixed(draw, leaf_vectors[of_leaf], 0.75)

    liked = np.array([sum(top_vectors[tops.index(top)] for top in segment.likes) for segment in SEGMENTS])
    segments = np.repeat(_mixed(draw, _unit(liked), 0.8), BRANCHES, axis=0)  # (S, d)
    branches = _mixed(draw, segments, 1 - config.branch_taste)
    later = _unit(draw.standard_normal(branches.shape))

    syllables = draw.choice(SYLLABLES, (_BRANDS, 3))
    brand_names = np.array(["".join(row).capitalize() for row in syllables])
    brands = brand_names[draw.integers(_BRANDS, size=items)]
    qualities = draw.choice(QUALITIES, items)
    level, quality = draw.standard_normal((2, items))
    base = np.exp(draw.normal(3.2, 0.8, leaves))
    trend = np.linspace(-0.5, 0.5, config.days)[:, None] * config.item_drift
    appeal = (draw.standard_normal(items) + trend * draw.standard_normal(items)).astype(np.float32)
    seen = np.exp(appeal).reshape(config.days, leaves, per_leaf)  # the liked ones are shown more
    shelf = np.cumsum(seen / seen.sum(-1, keepdims=True), axis=-1).reshape(-1, per_leaf)
    popularity = draw.normal(0, 0.5, leaves)
    return World(
        names=names,
        ids=pa.array([f"i{number}" for number in range(items)]),
        queries=_queries(draw, names, brand_names),
        titles=np.array([f"{b} {q} {names[n][1]}" for b, q, n in zip(brands, qualities, of_leaf, strict=True)]),
        brands=brands,
        price=base[of_leaf] * np.exp(0.5 * level),
        level=level.astype(np.float32),
        quality=quality.astype(np.float32),
        appeal=appeal,
        shelf=shelf,
        leaf_vectors=leaf_vectors.astype(np.float32),
        item_vectors=item_vectors.astype(np.float32),
        leaf_taste=_standard(branches @ leaf_vectors.T),
        taste=_standard(branches @ item_vectors.T),
        turned=_standard(later @ item_vectors.T),
        popularity=(popularity - np.log(np.exp(popularity).sum())).astype(np.float32),
    )


def leaf_choice(world: World, taste: np.ndarray, sharpness: float) -> np.ndarray:
    """Taste for the leaves (n, L) -> running sums (n, L) of the probabilities that one is chosen."""
    score = world.popularity + taste * (sharpness / _SHARP)
    chance = np.exp(score - score.max(-1, keepdims=True))
    return np.cumsum(chance / chance.sum(-1, keepdims=True), axis=-1)


def pick(running: np.ndarray, rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One draw a row: (n,) column numbers, each from the running sums (m, k) of its row (n,)."""
    columns = running.shape[1]
    flat = np.minimum(running, 1.0).astype(np.float64)
    flat[:, -1] = 1.0
    flat = (flat + np.arange(len(running))[:, None]).ravel()
    found = np.searchsorted(flat, rows + uniform, side="right") - rows * columns
    return np.clip(found, 0, columns - 1)


def _queries(draw: np.random.Generator, names: list[tuple[str, str]], brands: np.ndarray) -> np.ndarray:
    texts = []
    for _, leaf in names:
        first = draw.choice(QUALITIES, _QUERIES // 2, replace=False)
        second = draw.choice(brands, _QUERIES // 4, replace=False)
        plain = _QUERIES - len(first) - len(second)
        texts.append([*[leaf] * plain, *(f"{word} {leaf}" for word in (*first, *second))])
    return np.array(texts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _mixed(draw: np.random.Generator, parents: np.ndarray, share: float) -> np.ndarray:
    """Vectors of length 1 that have ``share`` of their variance from their parents."""
    own = _unit(draw.standard_normal(parents.shape))
    return _unit(np.sqrt(share) * parents + np.sqrt(1 - share) * own)


def _standard(table: np.ndarray) -> np.ndarray:
    centred = table - table.mean(-1, keepdims=True)
    return (centred / centred.std(-1, keepdims=True)).astype(np.float32)
