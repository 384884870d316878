"""Self-attention over right-aligned sequences, and the transformer block around it."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.dropout import dropout


class SelfAttention(tf_keras.layers.Layer):
    """Multi-head scaled dot-product attention in which position i sees positions that are no padding: those ≤ i, or
    with ``causal=False`` all.

    Args:
      d: width of input and output. heads: must divide d. rate: dropout of the attention weights.

    Raises:
      ValueError: ``heads`` does not divide ``d``.
    """

    def __init__(self, d: int, heads: int, rate: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if heads < 1 or d % heads:
            raise ValueError(f"heads must be positive and divide d={d}, got {heads}")
        self.d, self.heads, self.rate = d, heads, rate
        self.query, self.key, self.value, self.output_ = (tf_keras.layers.Dense(d) for _ in range(4))

    def build(self, shape: tf.TensorShape) -> None:
        for dense in (self.query, self.key, self.value, self.output_):
            dense.build(shape)
        super().build(shape)

    def call(
        self,
        x: tf.Tensor,
        values: tf.Tensor,
        mask: tf.Tensor,
        seed: tf.Tensor | None = None,
        causal: bool = True,
    ) -> tf.Tensor:
        """Queries of x (b, l, d) over keys and values of ``values`` (b, l, d) -> (b, l, d).

        mask (b, l) is true at real items; dropout where a seed is given.
        """
        parts = ((self.query, x), (self.key, values), (self.value, values))
        q, k, v = (into_heads(dense(part), self.heads) for dense, part in parts)  # (b, heads, l, d/heads)
        scores = tf.matmul(q, k, transpose_b=True) * float(q.shape[-1]) ** -0.5  # (b, heads, l, l)
        visible = mask[:, None, :]  # (b, 1, l)
        if causal:
            place = tf.range(tf.shape(x)[1])
            visible &= (place[None, :] <= place[:, None])[None]  # (b, l, l)
        # A padded query row sees nothing real; a finite floor gives it a uniform mix instead of NaN.
        scores += tf.cast(tf.where(visible, 0.0, -1e9), scores.dtype)[:, None]
        weights = dropout(tf.nn.softmax(scores), self.rate, seed)
        mixed = tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3))
        return self.output_(tf.reshape(mixed, tf.shape(x)))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "d": self.d, "heads": self.heads, "rate": self.rate}


def into_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """x (b, l, d) -> (b, heads, l, d / heads)."""
    shape = tf.shape(x)
    return tf.transpose(tf.reshape(x, (shape[0], shape[1], heads, x.shape[-1] // heads)), (0, 2, 1, 3))


class TransformerBlock(tf_keras.layers.Layer):
    """Attention and a feed-forward layer, each with a residual, and dropout on the way.

    ``norm`` says what is normalised:

    - "query", as Kang & McAuley's own code has it: a = x + attention(norm(x) over x), then n + feed-forward(n)
      with n = norm(a). Keys and values stay as they are, and the second residual is of what was normalised.
    - "pre", as their paper's text has it: x + attention(norm(x)), then x + feed-forward(norm(x)).
    - "post", as Vaswani et al. (2017) and BERT: norm(x + attention(x)), then norm(x + feed-forward(x)).

    Args:
      d: width. heads: of the attention. hidden: width inside the feed-forward. rate: dropout. activation: of
        the feed-forward.
    """

    def __init__(
        self,
        d: int,
        heads: int,
        hidden: int,
        rate: float,
        activation: str = "relu",
        norm: str = "query",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.d, self.heads, self.hidden, self.rate = d, heads, hidden, rate
        self.activation, self.norm = activation, norm
        self.attention = SelfAttention(d, heads, rate, name="attention")
        self.norms = [tf_keras.layers.LayerNormalization(epsilon=1e-8) for _ in range(2)]
        self.up = tf_keras.layers.Dense(hidden, activation=activation)
        self.down = tf_keras.layers.Dense(d)

    def build(self, shape: tf.TensorShape) -> None:
        self.attention.build(shape)
        for norm in self.norms:
            norm.build(shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], self.up.units))
        super().build(shape)

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None, causal: bool = True
    ) -> tf.Tensor:
        """x (b, l, d), mask (b, l) -> (b, l, d)."""
        seeds = [None] * 4 if seed is None else tf.unstack(tf.random.split(seed, 4))
        if self.norm == "post":
            x += dropout(self.attention(x, x, mask, seeds[0], causal), self.rate, seeds[1])
            x = self.norms[0](x)
            return self.norms[1](x + self._feed_forward(x, *seeds[2:]))
        normed = self.norms[0](x)
        if self.norm == "query":
            x = self.norms[1](x + self.attention(normed, x, mask, seeds[0], causal))
            return x + self._feed_forward(x, *seeds[2:])
        x += dropout(self.attention(normed, normed, mask, seeds[0], causal), self.rate, seeds[1])
        return x + self._feed_forward(self.norms[1](x), *seeds[2:])

    def _feed_forward(self, x: tf.Tensor, inner: tf.Tensor | None, outer: tf.Tensor | None) -> tf.Tensor:
        return dropout(self.down(dropout(self.up(x), self.rate, inner)), self.rate, outer)

    def get_config(self) -> dict[str, object]:
        names = ("d", "heads", "hidden", "rate", "activation", "norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
