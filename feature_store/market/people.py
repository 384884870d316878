"""A block of the market's users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_store.market.catalogue import SEGMENTS
from feature_store.market.config import MarketConfig
from feature_store.market.world import BRANCHES, DIMENSIONS, World, leaf_choice, random

BLOCK = 2048  # users that are drawn together; who is in a block is the same for every size of market
_STRINGS = ("gender", "household", "occupation", "city")


@dataclass(frozen=True)
class People:
    """B users.

    Attributes:
        first: number of the first. ids: (B,) strings. branch: (B,) of 0..S-1. own: (B, d), the taste that is nobody
            else's.
        pays: (B,) level of price they like. clicks: (B,) to be expected over all days.
        attributes: name -> column. feed, searching: (B, L) running sums of the leaves they are shown and look for.
    """

    first: int
    ids: pa.Array
    branch: np.ndarray
    own: np.ndarray
    pays: np.ndarray
    clicks: np.ndarray
    attributes: dict[str, pa.Array]
    feed: np.ndarray
    searching: np.ndarray


def draw(config: MarketConfig, world: World, block: int) -> People:
    """The users of a block, all `BLOCK` of them."""
    chance = random(config, 1, block)
    branch = chance.integers(len(SEGMENTS) * BRANCHES, size=BLOCK)
    own = chance.standard_normal((BLOCK, DIMENSIONS)).astype(np.float32)
    segment = branch // BRANCHES
    regular = chance.random(BLOCK) < config.regular_share
    share = np.where(
        regular,
        config.regular_clicks / config.regular_share,
        (1 - config.regular_clicks) / (1 - config.regular_share),
    )
    spread = config.activity_spread
    clicks = config.clicks_per_user * share * np.exp(spread * chance.standard_normal(BLOCK) - spread**2 / 2)
    pays = np.array([s.price for s in SEGMENTS])[segment] + 0.5 * chance.standard_normal(BLOCK)
    shared, mine = np.sqrt(config.shared_taste), np.sqrt(1 - config.shared_taste)
    taste = shared * world.leaf_taste[branch] + mine * (own @ world.leaf_vectors.T)  # (B, L)
    attributes = _attributes(config, chance, segment, pays, regular)
    if config.null_world:
        pays, taste = np.zeros(BLOCK), np.zeros_like(taste)
    return People(
        first=block * BLOCK,
        ids=pa.array([f"u{number}" for number in range(block * BLOCK, (block + 1) * BLOCK)]),
        branch=branch,
        own=own,
        pays=pays.astype(np.float32),
        clicks=clicks,
        attributes=attributes,
        feed=_blend(leaf_choice(world, taste, 1.0), leaf_choice(world, 0 * taste, 0.0), config.personal_feed),
        searching=_blend(leaf_choice(world, taste, 2.0), _uniform(taste), config.search_signal),
    )


def _attributes(
    config: MarketConfig, chance: np.random.Generator, segment: np.ndarray, pays: np.ndarray, regular: np.ndarray
) -> dict[str, pa.Array]:
    """Each attribute is that of the user's own segment with chance `attribute_signal`, else that of any."""
    size, everybody = len(segment), len(SEGMENTS)
    hidden = np.where(regular, config.hidden_regular, config.hidden_other)
    found = {}
    for name in (*_STRINGS, "age", "income"):
        anybody = chance.integers(everybody, size=size)
        told = np.where(chance.random(size) < config.attribute_signal, segment, anybody)
        if name == "age":
            ages = np.array([s.age for s in SEGMENTS])[told] + chance.normal(0, 3, size)
            values = np.clip(ages, 16, 90).round().astype(np.int64)
        elif name == "income":
            prices = np.array([s.price for s in SEGMENTS])[told]
            values = (2000 * np.exp(0.5 * prices + chance.normal(0, 0.2, size))).round(-1).astype(np.float32)
        else:
            values = np.array([getattr(s, name) for s in SEGMENTS])[told]
        found[name] = pa.array(values, mask=chance.random(size) < hidden)
    return found


def _blend(ones: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """Running sums of a mixture are the mixture of the running sums."""
    return share * ones + (1 - share) * others


def _uniform(like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(1, like.shape[1] + 1) / like.shape[1], like.shape)
