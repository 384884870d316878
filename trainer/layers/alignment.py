"""From behaviour and knowledge to one vector a user: CoCo's alignment attention and the two simpler fusions."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.attention import into_heads


class Alignment(tf_keras.layers.Layer):
    """h_aligned = CrossAttention(h_RS W_Q, h_concat W_K, h_concat W_V), h_concat = MLP([h_RS, h_pure]) (CoCo Eq. 7).

    h_RS is a user's one vector, of its last position. It is concatenated with each piece of knowledge, so that the
    attention is over the pieces; or, ``along="tokens"``, the vectors of all positions stand beside the pieces.

    Args:
      d: of h_RS. heads: must divide d. residual: h_RS is added, and the values start at 0. along: features | tokens.

    Raises:
      ValueError: ``heads`` does not divide ``d``.
    """

    def __init__(
        self, d: int, heads: int = 1, residual: bool = True, along: str = "features", **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        if heads < 1 or d % heads:
            raise ValueError(f"heads must be positive and divide d={d}, got {heads}")
        self.d, self.heads, self.residual, self.along = d, heads, residual, along
        self.lift = tf_keras.layers.Dense(d, use_bias=False, name="lift")  # of knowledge to the width of h_RS
        self.inner = tf_keras.layers.Dense(d, activation="relu", name="inner")
        self.outer = tf_keras.layers.Dense(d, name="outer")
        self.query, self.key = (tf_keras.layers.Dense(d, use_bias=False, name=name) for name in ("query", "key"))
        self.value = tf_keras.layers.Dense(d, use_bias=False, kernel_initializer=_start(residual), name="value")

    def build(self, width: int) -> None:
        """Makes the weights; ``width`` is of the knowledge."""
        self.lift.build((None, None, width))
        self.inner.build((None, None, self.d * (2 if self.along == "features" else 1)))
        for dense in (self.outer, self.query, self.key, self.value):
            dense.build((None, None, self.d))
        self.built = True

    def call(self, h: tf.Tensor, seen: tf.Tensor, knowledge: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """h (B, L, d) with its mask (B, L), knowledge (B, m, d') with its mask (B, m) -> (B, d).

        A user without knowledge keeps its last h.
        """
        last, pieces, visible = h[:, -1], self.lift(knowledge), mask
        if self.along == "features":
            joined = tf.concat([tf.broadcast_to(last[:, None], tf.shape(pieces)), pieces], axis=-1)  # (B, m, 2 d)
        else:
            joined, visible = tf.concat([h, pieces], axis=1), tf.concat([seen, mask], axis=1)  # (B, L + m, d)
        tokens = self.outer(self.inner(joined))
        q = into_heads(self.query(last[:, None]), self.heads)  # (B, heads, 1, d / heads)
        k, v = (into_heads(layer(tokens), self.heads) for layer in (self.key, self.value))
        scores = tf.matmul(q, k, transpose_b=True) * float(q.shape[-1]) ** -0.5
        scores += tf.cast(tf.where(visible[:, None], 0.0, -1e9), scores.dtype)[:, None]
        mixed = tf.reshape(tf.matmul(tf.nn.softmax(scores), v), tf.shape(last))
        return _where_known(mask, mixed, last, self.residual)


class Fusion(tf_keras.layers.Layer):
    """The mean of a user's knowledge beside its last h_RS, through one linear layer (CoCo_fea) or two with a ReLU
    between them (CoCo_mlp), the baselines of CoCo's Table 7.

    Args:
      d: of h_RS. hidden: whether there are two layers. residual: as of ``Alignment``.
    """

    def __init__(self, d: int, hidden: bool, residual: bool = True, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.d, self.residual = d, residual
        self.inner = tf_keras.layers.Dense(d, activation="relu", name="inner") if hidden else None
        self.outer = tf_keras.layers.Dense(d, kernel_initializer=_start(residual), name="outer")

    def build(self, width: int) -> None:
        """Makes the weights; ``width`` is of the knowledge."""
        if self.inner is not None:
            self.inner.build((None, self.d + width))
        self.outer.build((None, self.d + width if self.inner is None else self.d))
        self.built = True

    def call(self, h: tf.Tensor, seen: tf.Tensor, knowledge: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """As ``Alignment.call``."""
        last, there = h[:, -1], tf.cast(mask, h.dtype)[..., None]  # (B, m, 1)
        mean = tf.reduce_sum(knowledge * there, axis=1) / tf.maximum(tf.reduce_sum(there, axis=1), 1)
        x = tf.concat([last, mean], axis=-1)
        return _where_known(mask, self.outer(x if self.inner is None else self.inner(x)), last, self.residual)


def _start(residual: bool) -> str:
    return "zeros" if residual else "glorot_uniform"


def _where_known(mask: tf.Tensor, fused: tf.Tensor, last: tf.Tensor, residual: bool) -> tf.Tensor:
    """fused (B, d), where a user has knowledge; last (B, d) where it has none, and with ``residual`` added."""
    known = tf.reduce_any(mask, axis=1, keepdims=True)
    return tf.where(known, last + fused if residual else fused, last)
