"""Attention of a candidate over a sequence of items."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras


class TargetAttention(tf_keras.layers.Layer):
    """The local activation unit of DIN (Zhou et al., KDD 2018, §4.3): each item of a sequence is weighted by a small
    network of the item, the candidate, and their difference and product; the weights are not normalised.

    Args:
      width: of an item. hidden: widths of the network.
    """

    def __init__(self, width: int, hidden: Sequence[int], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width, self.hidden = width, tuple(hidden)
        self.layers_ = [tf_keras.layers.Dense(h, activation="sigmoid") for h in self.hidden]
        self.out = tf_keras.layers.Dense(1)

    def build(self, shape: object = None) -> None:
        size = 4 * self.width
        for layer in (*self.layers_, self.out):
            layer.build((None, size))
            size = layer.units
        super().build(shape)

    def call(self, candidates: tf.Tensor, items: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """candidates (n, C, w), items (n, L, w) where they are there (n, L) -> (n, C, w); zero of an empty sequence."""
        first, *others = *self.layers_, self.out
        x = self._first(first, tf.expand_dims(candidates, 2), tf.expand_dims(items, 1))  # (n, C, L, h)
        for layer in others:
            x = layer(x)
        weights = tf.squeeze(x, -1) * tf.cast(there, x.dtype)[:, None]  # (n, C, L)
        return tf.matmul(weights, items)

    def _first(self, layer: tf_keras.layers.Dense, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        """What ``layer`` makes of [item, candidate, item − candidate, item · candidate], without writing them out."""
        item, candidate, difference, product = tf.split(layer.kernel, 4)
        x = tf.tensordot(other * one, product, 1) + tf.tensordot(other, item + difference, 1)
        return layer.activation(x + tf.tensordot(one, candidate - difference, 1) + layer.bias)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "width": self.width, "hidden": self.hidden}
