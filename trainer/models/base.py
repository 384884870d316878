"""The base model of labelled requests: every feature, and attention of the candidate over each sequence of items."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.perceptron import Perceptron
from trainer.layers.request_embeddings import Embedded
from trainer.layers.target_attention import TargetAttention
from trainer.models.request_model import Outputs, RequestModel, spread
from trainer.requests.input import Requests, Rows


class Base(RequestModel):
    """As DIN (Zhou et al., KDD 2018), §4: the candidate, what its attention finds in each sequence of items, and the
    other features end to end, through a perceptron. Theirs has PReLU or Dice where this has ReLU. Other sequences are
    averaged.

    Models that change a part of it begin from ``attended`` and ``plain``.
    """

    def make(self, data: Requests) -> None:
        """See ``RequestModel``."""
        config, embeddings = self.config.model, self.embeddings
        width = embeddings.width
        self.sequences = [f.name for f in embeddings.read if f.kind == "sequence" and f.vocabulary == "item"]
        self.attention = [TargetAttention(width, config.attention, name=name) for name in self.sequences]
        for layer in self.attention:
            layer.build()
        rest = [f.name for f in embeddings.read if f.name not in self.sequences]
        self.rest = sum(map(embeddings.width_of, rest))  # of ``plain``
        self.make_network(width * (1 + len(self.sequences)) + self.rest)

    def make_network(self, width: int) -> None:
        """Makes what computes a logit of ``width`` features."""
        config = self.config.model
        self.network = Perceptron(config.hidden, rate=config.dropout, name="network")
        self.network.build((None, width))
        self.out = tf_keras.layers.Dense(1, name="out")
        self.out.build((None, config.hidden[-1]))

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``."""
        return Outputs(self.logits(self.features(parts), seed), {}, {})

    def logits(self, features: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """features (n, C, ·) -> (n, C)."""
        return self.out(self.network(features, seed))[..., 0]

    def features(self, parts: Embedded) -> tf.Tensor:
        """Everything end to end: (n, C, ·)."""
        found = self.attended(parts)
        if self.rest:
            found.append(spread(self.plain(parts), parts.candidates))
        return tf.concat(found, axis=-1)

    def attended(self, parts: Embedded) -> list[tf.Tensor]:
        """The candidates, and what each finds in each sequence of items: (n, C, w) each."""
        found = [parts.candidates]
        for layer, name in zip(self.attention, self.sequences, strict=True):
            found.append(layer(parts.candidates, parts.items[name], parts.there[name]))
        return found

    def plain(self, parts: Embedded) -> tf.Tensor:
        """The features that are of no sequence of items, end to end: (n, ·)."""
        means = {name: mean(x, parts.there[name]) for name, x in parts.sequences.items()}
        each = {**parts.single, **parts.vectors, **means}
        return tf.concat([each[f.name] for f in self.embeddings.read if f.name in each], axis=1)


def mean(vectors: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """Vectors (n, L, w) where they are there (n, L) -> (n, w), zero of an empty sequence."""
    weights = tf.cast(there, vectors.dtype)[..., None]
    return tf.reduce_sum(vectors * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
