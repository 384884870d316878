"""How float32 values cross between a server and a worker: as they are, or rounded to bfloat16, half the bytes.

Rounded, a value keeps 8 bits of precision: a relative error of at most 2⁻⁸. Parameters and slots stay float32 where
they live.
"""

from __future__ import annotations

import tensorflow as tf


def to_worker(value: tf.Tensor | tf.Variable, device: str | None, wire: tf.DType) -> tf.Tensor:
    """What lies on a server's ``device``, as the worker that runs the graph gets it; None is where it runs."""
    if device is None or wire == tf.float32:
        return tf.identity(value)
    with tf.device(device):
        sent = tf.cast(value, wire)
    return tf.cast(sent, tf.float32)


def narrowed(value: tf.Tensor, device: str | None, wire: tf.DType) -> tf.Tensor:
    """A worker's value as it sets out for a server's ``device``."""
    return value if device is None else tf.cast(value, wire)


def widened(value: tf.Tensor, device: str | None) -> tf.Tensor:
    """The same as the server gets it."""
    if value.dtype == tf.float32:
        return value
    with tf.device(device):
        return tf.cast(value, tf.float32)
