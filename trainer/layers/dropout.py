"""Dropout whose mask is a function of a seed, so that every worker and every replay draws the same one."""

from __future__ import annotations

import tensorflow as tf


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Zeroes each value with probability ``rate`` and scales the rest by 1 / (1 − rate).

    Args:
      seed: (2,) integers; None leaves ``x`` as it is.
    """
    if seed is None or not rate:
        return x
    return tf.nn.experimental.stateless_dropout(x, rate, seed, rng_alg="philox")
