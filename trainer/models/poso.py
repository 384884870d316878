"""POSO: sub-networks that a user's activity chooses between (Dai et al., 2021)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.dropout import dropout
from trainer.layers.perceptron import Perceptron
from trainer.layers.request_embeddings import Embedded
from trainer.models.base import Base
from trainer.models.request_model import Outputs, spread
from trainer.requests.input import Rows

SCALE = 2.0
"""C of the paper: what a gate of one half is multiplied with, so that it changes nothing."""


class Poso(Base):
    """The base with POSO's perceptron (§3.3, "POSO of MLP"): each unit of each layer is multiplied by C times a gate in
    (0, 1), which a network of two layers gives from the personalisation code, here the user's activity. Gates within
    the attention (§3.3, "POSO of MHA") are left out: the base has no heads."""

    def make_network(self, width: int) -> None:
        """See ``Base``."""
        config, code = self.config.model, 1 + len(self.config.choir.activity)
        self.layers_, self.gates, size = [], [], width
        for units in config.hidden:
            self.layers_.append(tf_keras.layers.Dense(units, activation="relu"))
            self.layers_[-1].build((None, size))
            self.gates.append(Perceptron((units, units), last="sigmoid"))
            self.gates[-1].build((None, code))
            size = units
        self.out = tf_keras.layers.Dense(1, name="out")
        self.out.build((None, size))

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``."""
        code = self.activity(parts)
        seeds = [None] * len(self.gates) if seed is None else tf.unstack(tf.random.split(seed, len(self.gates)))
        x = self.features(parts)
        for layer, gate, own in zip(self.layers_, self.gates, seeds, strict=True):
            x = dropout(layer(x) * SCALE * spread(gate(code), parts.candidates), self.config.model.dropout, own)
        return Outputs(self.out(x)[..., 0], {}, {})
