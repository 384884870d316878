"""MELT: active users teach what a few purchases say of many (Kim et al., SIGIR 2023)."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.layers.perceptron import Perceptron
from trainer.layers.request_embeddings import Embedded
from trainer.models.base import Base, mean
from trainer.models.request_model import Outputs, cross_entropy, spread
from trainer.requests.input import Requests, Rows


class Melt(Base):
    """The base with MELT's user branch: of a user with more than ``few`` purchases a network learns to give, from the
    mean of the newest ``few`` items, that of all of them; a user with no more gets what the network gives of its own.
    The loss of a user grows with its history along a sine, which is their curriculum over lengths.

    The item branch, which does the same for rare items, and the curriculum over epochs are left out: what is compared
    is what is gained for users.
    """

    def make(self, data: Requests) -> None:
        """See ``RequestModel``."""
        super().make(data)
        width = self.embeddings.width
        self.branch = Perceptron((width, width), last=None, name="branch")
        self.branch.build((None, width))

    def make_network(self, width: int) -> None:
        """See ``Base``; it also reads a user's interest."""
        super().make_network(width + self.embeddings.width)

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``."""
        name, few = self.config.choir.sequence, self.config.sparse.few
        items, there = parts.items[name], parts.there[name]  # (n, L, w), (n, L)
        purchases = tf.reduce_sum(tf.cast(there, tf.float32), axis=1, keepdims=True)
        newest = there & (tf.cumsum(tf.cast(there, tf.int32), axis=1, reverse=True) <= few)
        whole, part = mean(items, there), mean(items, newest)
        guessed = self.branch(tf.stop_gradient(part))
        interest = tf.where(purchases <= few, whole + self.branch(part), whole)
        length = float(items.shape[1] or 1)
        apart = tf.reduce_mean(tf.square(guessed - tf.stop_gradient(whole)), axis=1, keepdims=True)
        weight = tf.sin(math.pi / 2 * tf.minimum(purchases / length, 1.0)) * tf.cast(purchases > few, tf.float32)
        features = tf.concat([self.features(parts), spread(interest, parts.candidates)], axis=-1)
        return Outputs(self.logits(features, seed), {}, {"branch": weight * apart})

    def loss_of(self, outputs: Outputs, rows: Rows) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """See ``RequestModel``."""
        loss, count = cross_entropy(outputs.logits, rows)
        branch = tf.reduce_mean(outputs.parts["branch"])
        return loss + self.config.sparse.weight * branch, count, {"loss/branch": branch[None]}
