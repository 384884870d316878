"""The confidence predictor: how much each sample of a batch counts (RGAlign-Rec Eq. 5)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.perceptron import Perceptron

_HALVINGS = 24


class Confidence(tf_keras.layers.Layer):
    """w_j = B p_j, p the softmax over the batch of a score of each sample: their mean is 1.

    Left to itself it would put all weight on the samples that cost least. So p's entropy is at least ``floor`` · log B:
    where it would be less, p is mixed with the uniform distribution just as far as it takes. The share of the uniform
    one has no gradient.

    Args:
      width: of the layer inside. floor: from 0 to 1; 1 weighs all alike.
    """

    def __init__(self, width: int, floor: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width, self.floor = width, floor
        self.network = Perceptron((width, 1), last=None, name="network")

    def build(self, shape: tf.TensorShape) -> None:
        self.network.build(shape)
        super().build(shape)

    def call(self, x: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        """x (B, ·), which samples count (B,) bool -> weights (B,), mean 1 over those that count, 0 of the others."""
        scores = tf.where(counted, self.network(tf.stop_gradient(x))[:, 0], -1e9)
        p = tf.nn.softmax(scores)
        number = tf.reduce_sum(tf.cast(counted, p.dtype))
        uniform = tf.cast(counted, p.dtype) / tf.maximum(number, 1.0)
        share = tf.stop_gradient(uniform_share(p, uniform, self.floor))
        return number * ((1 - share) * p + share * uniform)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "width": self.width, "floor": self.floor}


def uniform_share(p: tf.Tensor, uniform: tf.Tensor, floor: float) -> tf.Tensor:
    """The least share λ in [0, 1] with which (1 − λ) p + λ uniform has an entropy of ``floor`` times the uniform's.

    The entropy grows with λ from p's to the uniform's, so λ is found by halving the interval.
    """
    wanted = floor * entropy(uniform)
    low, high = tf.zeros((), p.dtype), tf.ones((), p.dtype)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = entropy((1 - middle) * p + middle * uniform) >= wanted
        low, high = tf.where(enough, low, middle), tf.where(enough, middle, high)
    return tf.where(entropy(p) >= wanted, tf.zeros_like(high), high)


def entropy(p: tf.Tensor) -> tf.Tensor:
    """−Σ p log p of a distribution (B,)."""
    return -tf.reduce_sum(tf.math.xlogy(p, p))
