"""FDSA: feature-level deeper self-attention (Zhang et al., IJCAI 2019)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.layers.encoder import Encoder
from trainer.models.backbone import Backbone


class FDSA(Backbone):
    """Two causal transformers, one over the items and one over what is known of them, joined by a last layer.

    What is known of an item is a mixture of its attributes' vectors, weighted by attention (``describe``). It depends
    on the item alone: outside training it is computed once an item, and stands after the item's vector.
    """

    reads_attributes = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.feature_encoder = Encoder(config, name="feature_encoder")
        self.attend = tf_keras.layers.Dense(config.d, name="attend")
        self.join = tf_keras.layers.Dense(config.d, name="join")

    def build_head(self, d: int) -> None:
        self.feature_encoder.build(tf.TensorShape((None, None, d)))
        self.attend.build((None, None, d))
        self.join.build((None, None, 2 * d))

    def describe(self, attributes: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """f = Σ α ⊙ a with α = softmax(W a + b) over an item's attributes, each coordinate by itself (Eq. 1, 2).

        Args:
          attributes: (n, A, d) vectors a. there: (n, A) bool, which of them there are.

        Returns:
          (n, d); zeros where an item has none.
        """
        scores = self.attend(attributes) + tf.where(there, 0.0, -1e9)[..., None]
        weights = tf.nn.softmax(scores, axis=1) * tf.cast(there, tf.float32)[..., None]
        return tf.reduce_sum(weights * attributes, axis=1)

    def call(self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """As ``Backbone.call``, of item vectors followed by their descriptions, (b, l, 2 d) (Eq. 12)."""
        seeds = [None] * 2 if seed is None else tf.unstack(tf.random.split(seed, 2))
        items, features = tf.split(x, 2, axis=-1)
        parts = [self.encoder(items, mask, seeds[0]), self.feature_encoder(features, mask, seeds[1])]
        return self.pointed(self.join(tf.concat(parts, axis=-1)))
