"""The confidence predictor: how much each sample of a batch counts (RGAlign-Rec Eq. 5)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.perceptron import Perceptron

_HALVINGS = 16
_LITTLE = 1e-12


class Confidence(tf_keras.layers.Layer):
    """w_j = B p_j, p the softmax over the batch of a score of each sample: their mean is 1.

    Left to itself it would put all weight on the samples that cost least. So p's entropy is at least ``floor`` · log B:
    where it would be less, p is tempered, softmax(β s), with the largest β ≤ 1 of that entropy, and gradients go
    through β too. Of all p above the floor that of least Σ p_j L_j is exp(−L_j / t) / Σ exp(−L_k / t) for some t.

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
        scores = self.network(tf.stop_gradient(x))[:, 0]
        number = tf.reduce_sum(tf.cast(counted, scores.dtype))
        return number * tempered(scores, counted, self.floor)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "width": self.width, "floor": self.floor}


def tempered(scores: tf.Tensor, counted: tf.Tensor, floor: float) -> tf.Tensor:
    """softmax(β s) (B,) over those that count, 0 of the others, with the largest β ≤ 1 at which its entropy is at least
    ``floor`` times the logarithm of their number.

    The entropy H falls in β, dH/dβ = −β Var_p(s), so β is found by halving the interval. Its gradient is that of the
    function that H(β, s) = const makes it, dβ/ds = −(∂H/∂s) / (dH/dβ): a Newton step from where the halving ended,
    which also takes away what that left.
    """
    there = tf.cast(counted, scores.dtype)
    number = tf.maximum(tf.reduce_sum(there), 1.0)
    centred = (scores - tf.reduce_sum(there * scores) / number) * there
    held, wanted = tf.stop_gradient(centred), floor * tf.math.log(number)

    def at(beta: tf.Tensor, of: tf.Tensor) -> tf.Tensor:
        return there * tf.nn.softmax(tf.where(counted, beta * of, -1e9))

    low, high = tf.zeros((), scores.dtype), tf.ones((), scores.dtype)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = entropy(at(middle, held)) >= wanted
        low, high = tf.where(enough, middle, low), tf.where(enough, high, middle)
    p = at(high, held)
    variance = tf.reduce_sum(p * held**2) - tf.reduce_sum(p * held) ** 2
    beta = high + (entropy(at(high, centred)) - wanted) / (high * variance + _LITTLE)
    free = entropy(at(tf.ones_like(high), held)) >= wanted
    return at(tf.where(free, 1.0, tf.clip_by_value(beta, 0.0, 1.0)), centred)


def entropy(p: tf.Tensor) -> tf.Tensor:
    """−Σ p log p of a distribution (B,)."""
    return -tf.reduce_sum(tf.math.xlogy(p, p))
