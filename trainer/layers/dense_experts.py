"""A dense mixture of experts with several gates, as in MMoE (Ma et al., KDD 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from trainer.layers.perceptron import Perceptron


class DenseExperts(tf_keras.layers.Layer):
    """y_g = Σ_e softmax(W_g x)_e f_e(x): every expert answers, each gate g weighs the answers in its own way.

    Args:
      experts: how many. widths: of an expert's layers. gates: how many. rate: dropout within experts.
    """

    def __init__(self, experts: int, widths: Sequence[int], gates: int, rate: float = 0.0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.widths, self.rate = tuple(widths), rate
        self.experts = [Perceptron(widths, rate=rate, name=f"expert_{e}") for e in range(experts)]
        self.gates = [tf_keras.layers.Dense(experts, name=f"gate_{g}") for g in range(gates)]

    def build(self, shape: tf.TensorShape) -> None:
        for layer in (*self.experts, *self.gates):
            layer.build(shape)
        super().build(shape)

    def call(self, x: tf.Tensor, gate: int, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x (n, w) -> (n, last of ``widths``), as gate number ``gate`` weighs the experts; dropout with a seed (2,)."""
        seeds = [None] * len(self.experts) if seed is None else tf.unstack(tf.random.split(seed, len(self.experts)))
        answers = tf.stack([expert(x, own) for expert, own in zip(self.experts, seeds, strict=True)], axis=1)
        weights = tf.nn.softmax(self.gates[gate](x))  # (n, E)
        return tf.einsum("ne,new->nw", weights, answers)

    def get_config(self) -> dict[str, object]:
        own = {"experts": len(self.experts), "widths": self.widths, "gates": len(self.gates), "rate": self.rate}
        return {**super().get_config(), **own}
