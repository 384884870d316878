"""Item and user vectors like those of a trained recommender, for catalogues larger than any public data set's.

What is imitated are figures of SASRec on Amazon Beauty (d = 128): the spectrum (59 of 128 directions carry the items'
variance by participation ratio, 23 the users'), neighbours (the cosine to an item's nearest is 0.69 at the median),
lengths (the 1st percentile is 0.74 of the median, the 99th 1.49), a common direction, and a best item that scores 5
standard deviations above the mean of all items.
"""

from __future__ import annotations

import numpy as np

TOPICS_PER_ITEM = 1 / 500
WITHIN = 0.6  # share of an item's variance that its topic does not explain
DECAY = 0.45  # the spectrum's standard deviations fall as (1 + j)^-DECAY
COMMON = 0.3  # length of what all items have in common, where an item's is 1
SPREAD = 0.15  # standard deviation of the logarithm of items' lengths
INTERESTS = 3  # items that a user's vector lies between


def items(count: int, d: int, seed: int = 0) -> np.ndarray:
    """(count, d) float32: topics of Zipf's sizes, each item around its topic, lengths log-normal around 1."""
    random = np.random.default_rng(seed)
    deviation = (1.0 + np.arange(d)) ** -DECAY
    deviation = (deviation / np.linalg.norm(deviation)).astype(np.float32)  # a vector's length is 1 on average
    topics = max(int(count * TOPICS_PER_ITEM), 1)
    size = 1.0 / np.arange(1, topics + 1) ** 0.8
    topic = random.choice(topics, size=count, p=size / size.sum())
    centres = random.standard_normal((topics, d), dtype=np.float32) * np.float32((1 - WITHIN) ** 0.5)
    vectors = random.standard_normal((count, d), dtype=np.float32) * np.float32(WITHIN**0.5)
    vectors += centres[topic]
    vectors *= deviation
    vectors += random.standard_normal(d, dtype=np.float32) * np.float32(COMMON / d**0.5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * np.exp(SPREAD * random.standard_normal((count, 1), dtype=np.float32))


def users(vectors: np.ndarray, count: int, seed: int = 1) -> np.ndarray:
    """(count, d) float32: each between a few items, off the direction that all items share."""
    random = np.random.default_rng(seed)
    chosen = vectors[random.integers(len(vectors), size=(count, INTERESTS))].mean(axis=1) - vectors.mean(axis=0)
    noise = random.standard_normal(chosen.shape, dtype=np.float32)
    noise *= 0.5 * np.linalg.norm(chosen, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    chosen += noise
    return 16 * chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
