"""Cross-attention within a group of sequences that are about the same things (RGAlign-Rec §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras


class GroupAttention(tf_keras.layers.Layer):
    """The first sequence of a group, such as items, looks at each of the others, such as their times:

        h = W_0 x_0,  a_k = softmax(Q_k h (K_k W_k x_k)ᵀ / √d) V_k W_k x_k,  v = mean over places of h + Σ_k a_k

    All sequences of a group have the same length and the same places filled.

    Args:
      d: width inside and of the answer. count: how many sequences the group has, at least 2.
    """

    def __init__(self, d: int, count: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.d, self.count = d, count
        self.inputs_ = [tf_keras.layers.Dense(d) for _ in range(count)]
        others = range(count - 1)
        self.queries, self.keys, self.values = ([tf_keras.layers.Dense(d, use_bias=False) for _ in others]
                                                for _ in range(3))  # fmt: skip

    def build(self, widths: Sequence[int]) -> None:
        """``widths`` of the sequences."""
        for layer, width in zip(self.inputs_, widths, strict=True):
            layer.build((None, None, width))
        for layer in (*self.queries, *self.keys, *self.values):
            layer.build((None, None, self.d))
        super().build(None)

    def call(self, group: Sequence[tf.Tensor], there: tf.Tensor) -> tf.Tensor:
        """Sequences (n, L, ·) and where they are filled (n, L) -> (n, d), zero where nothing is."""
        first, *others = (layer(x) for layer, x in zip(self.inputs_, group, strict=True))  # (n, L, d)
        mixed = first
        floor = tf.where(there, 0.0, -1e9)[:, None]  # (n, 1, L); finite, so that an empty sequence is no NaN
        for query, key, value, other in zip(self.queries, self.keys, self.values, others, strict=True):
            scores = tf.matmul(query(first), key(other), transpose_b=True) * self.d**-0.5  # (n, L, L)
            mixed += tf.matmul(tf.nn.softmax(scores + floor), value(other))
        weights = tf.cast(there, mixed.dtype)[..., None]
        return tf.reduce_sum(mixed * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "d": self.d, "count": self.count}
