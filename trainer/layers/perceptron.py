"""A few dense layers, with dropout that is a function of a seed."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from trainer.layers.dropout import dropout


class Perceptron(tf_keras.layers.Layer):
    """Dense layers of the given widths, each followed by its activation and dropout.

    Args:
      widths: of the layers. activation: of all but the last; the last has ``last``. rate: dropout after each but a
        last one without an activation.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str = "relu",
        last: str | None = "relu",
        rate: float = 0.0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.widths, self.activation, self.last, self.rate = tuple(widths), activation, last, rate
        kinds = [activation] * (len(self.widths) - 1) + [last]
        self.layers_ = [tf_keras.layers.Dense(w, activation=a) for w, a in zip(self.widths, kinds, strict=True)]

    def build(self, shape: tf.TensorShape) -> None:
        size = shape[-1]
        for layer in self.layers_:
            layer.build((None, size))
            size = layer.units
        super().build(shape)

    def call(self, x: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x (…, w) -> (…, last width); dropout where a seed is given."""
        seeds = [None] * len(self.layers_) if seed is None else tf.unstack(tf.random.split(seed, len(self.layers_)))
        for layer, own in zip(self.layers_, seeds, strict=True):
            x = layer(x)
            if layer is not self.layers_[-1] or self.last is not None:
                x = dropout(x, self.rate, own)
        return x

    def get_config(self) -> dict[str, object]:
        names = ("widths", "activation", "last", "rate")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
