"""Interactions of fields by self-attention, as in AutoInt (Song et al., CIKM 2019)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.attention import into_heads


class Interacting(tf_keras.layers.Layer):
    """One interacting layer, §4.3: each of F fields mixes all by its own attention, ê = relu(concat of heads + W e).

    There is no scaling of the inner products, as in the paper.

    Args:
      d: width of the answer. heads: must divide it.

    Raises:
      ValueError: ``heads`` does not divide ``d``.
    """

    def __init__(self, d: int, heads: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if heads < 1 or d % heads:
            raise ValueError(f"heads must be positive and divide d={d}, got {heads}")
        self.d, self.heads = d, heads
        self.query, self.key, self.value, self.residual = (
            tf_keras.layers.Dense(d, use_bias=False) for _ in range(4)
        )

    def build(self, shape: tf.TensorShape) -> None:
        for layer in (self.query, self.key, self.value, self.residual):
            layer.build(shape)
        super().build(shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """fields (n, F, ·) -> (n, F, d)."""
        parts = (self.query, self.key, self.value)
        q, k, v = (into_heads(layer(fields), self.heads) for layer in parts)  # (n, heads, F, d/heads)
        mixed = tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True)), v)
        shape = tf.shape(fields)
        joined = tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (shape[0], shape[1], self.d))
        return tf.nn.relu(joined + self.residual(fields))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "d": self.d, "heads": self.heads}
