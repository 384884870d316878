"""A fixed shuffle of ids, so that whatever ids are popular, their rows fall on all servers alike."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

GOLDEN = (math.sqrt(5) - 1) / 2
MAX_ROWS = 2**31
"""So that the product of two ids fits int64."""


class Spread(NamedTuple):
    """A bijection of [0, rows): i → i · factor mod prime where i < prime, i itself where not.

    The prime is the largest that is at most ``rows``, so that no pattern in the ids (every n-th of n servers, say)
    survives the modulus: with ``rows`` itself in its place, and n dividing it, multiples of n would stay multiples.
    The factor is the prime's golden section, whose multiples are the most evenly spread (Knuth, vol. 3, §6.4). Both
    depend on ``rows`` alone.
    """

    prime: int
    factor: int

    @classmethod
    def of(cls, rows: int) -> Spread:
        """For ids in [0, rows), rows at most 2^31."""
        prime = next((p for p in range(rows, 1, -1) if _is_prime(p)), 1)
        return cls(prime, max(1, round(GOLDEN * prime)))


def shuffled(ids: tf.Tensor, prime: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """ids int64, each with the prime and the factor of its own ``Spread`` -> the same shape; negative ids are left."""
    return tf.where((ids >= 0) & (ids < prime), ids * factor % prime, ids)


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
