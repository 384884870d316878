"""PinnerFormer: sequence modelling for user representation (Pancha et al., KDD 2022)."""

from __future__ import annotations

import math

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.models.backbone import Backbone, Window

MIN_TEMPERATURE = 0.01


class PinnerFormer(Backbone):
    """A causal transformer trained with the dense all-action loss (§3.3): at every position the target is an item
    drawn from the next K, so that a user's vector points at what is to come and not only at what is next.

    Users' and items' vectors have length 1, and the temperature is learned, from ``config.temperature`` on. The last
    layers have no residual in the paper; with ``config.residual`` they have, so that a user's vector starts near those
    of the items it was made from, and training takes about half as many epochs.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.up = tf_keras.layers.Dense(
            config.feed_forward * config.d, activation=config.activation, name="up"
        )
        self.down = tf_keras.layers.Dense(config.d, name="down")

    def build_head(self, d: int) -> None:
        self.up.build((None, None, d))
        self.down.build((None, None, self.up.units))
        start = tf_keras.initializers.Constant(-math.log(self.config.temperature))
        self.log_scale = self.add_weight("log_scale", (1,), initializer=start)

    def window(self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> Window:
        """At each position one of the K items that follow it, or of as many as there are."""
        place = tf.range(tf.shape(targets)[1])[None]  # (1, L)
        ahead = tf.minimum(self.config.future, tf.shape(targets)[1] - place)
        draw = tf.random.stateless_uniform(tf.shape(targets), seed) * tf.cast(ahead, tf.float32)
        offset = tf.minimum(tf.cast(draw, tf.int32), ahead - 1)
        chosen = tf.gather(targets, place + offset, batch_dims=1)
        return Window(history, tf.where(history > 0, chosen, 0))

    def call(self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """As ``Backbone.call``."""
        encoded = self.encoder(x, mask, seed)
        x = self.down(self.up(encoded))
        x = x + encoded if self.config.residual else x
        scale = tf.exp(tf.minimum(self.log_scale, -math.log(MIN_TEMPERATURE)))
        return tf.math.l2_normalize(x, axis=-1) * scale
