"""A user's sequence, in its order, as one vector (RGAlign-Rec §3.3)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.attention import SelfAttention


class SequenceEncoder(tf_keras.layers.Layer):
    """Self-attention over the sequence with a learned vector for each place, counted from the newest, and the mean of
    what comes of it: v = mean over places of (W x + p + attention(W x + p)).

    Args:
      d: width inside and of the answer. heads: of the attention. length: places. rate: dropout of its weights.
    """

    def __init__(self, d: int, heads: int, length: int, rate: float = 0.0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.d, self.heads, self.length, self.rate = d, heads, length, rate
        self.input_ = tf_keras.layers.Dense(d)
        self.attention = SelfAttention(d, heads, rate, name="attention")

    def build(self, width: int) -> None:
        """``width`` of the sequence."""
        self.input_.build((None, None, width))
        self.attention.build((None, None, self.d))
        self.places = self.add_weight("places", (self.length, self.d), initializer="zeros")
        super().build(None)

    def call(self, x: tf.Tensor, there: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x (n, L, ·) right-aligned, filled where ``there`` (n, L) -> (n, d), zero where nothing is."""
        x = self.input_(x) + self.places[-x.shape[1] :]
        x += self.attention(x, x, there, seed, causal=False)
        weights = tf.cast(there, x.dtype)[..., None]
        return tf.reduce_sum(x * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)

    def get_config(self) -> dict[str, object]:
        names = ("d", "heads", "length", "rate")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
