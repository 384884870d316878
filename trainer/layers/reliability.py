"""How far a user's own signals, and those of its group, are to be relied on."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from trainer.layers.perceptron import Perceptron


class Reliability(tf_keras.layers.Layer):
    """Features of a user's activity -> α_distill and α_fusion, two heads on one network (ChoirRec, §4.4.3 and §4.4.4).

    Args:
      hidden: widths of the network.
    """

    def __init__(self, hidden: Sequence[int], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)
        self.body = Perceptron(hidden, name="body")
        self.distill = tf_keras.layers.Dense(1, activation="sigmoid")
        self.fusion = tf_keras.layers.Dense(1, activation="sigmoid")

    def build(self, shape: tf.TensorShape) -> None:
        self.body.build(shape)
        for head in (self.distill, self.fusion):
            head.build((None, self.hidden[-1]))
        super().build(shape)

    def call(self, activity: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """activity (n, w) -> α_distill and α_fusion, (n, 1) each, in (0, 1)."""
        x = self.body(activity)
        return self.distill(x), self.fusion(x)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "hidden": self.hidden}
