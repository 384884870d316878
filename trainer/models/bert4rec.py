"""BERT4Rec: bidirectional transformer trained on the Cloze task (Sun et al., CIKM 2019)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer import masking
from trainer.config import ModelConfig
from trainer.models.backbone import Backbone, Window


class BERT4Rec(Backbone):
    """Every position sees all others; items are hidden at random and predicted from both sides (§3.6).

    A hidden item's place holds ``mask_vector``, one of the model's own weights. To answer, a hidden item is put after
    the history, which loses its oldest item where it is full; its vector is the user's.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.project = tf_keras.layers.Dense(config.d, activation=config.activation, name="project")
        self.project_norm = tf_keras.layers.LayerNormalization(epsilon=1e-8)

    def build_head(self, d: int) -> None:
        self.mask_vector = self.add_weight("mask_vector", (1, d), initializer="zeros")
        self.project.build((None, None, d))
        self.project_norm.build((None, None, d))

    def window(self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> Window:
        """Of the newest L items of history and target, some are hidden; of some sequences the last one alone."""
        some, share = tf.unstack(tf.random.split(seed, 2))
        alone = tf.random.stateless_uniform((tf.shape(targets)[0], 1), share) < self.config.mask_last
        drawn = masking.some(targets, self.config.mask_rate, some)
        return Window(*masking.hidden(targets, tf.where(alone, masking.last(targets), drawn)))

    def question(self, history: tf.Tensor) -> tf.Tensor:
        return tf.concat([history[:, 1:], tf.fill((tf.shape(history)[0], 1), masking.MASKED)], axis=1)

    def hide(self, x: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return tf.where(ids[..., None] == masking.MASKED, self.mask_vector, x)

    def call(self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """As ``Backbone.call``, but bidirectional, with a last layer before the scores (Eq. 7)."""
        return self.pointed(self.project_norm(self.project(self.encoder(x, mask, seed, causal=False))))
