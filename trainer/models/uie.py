"""UIE: interest filled up from clusters of similar users, kept in a memory (Liu et al., 2024)."""

from __future__ import annotations

import tensorflow as tf

from trainer.layers.memory import Memory
from trainer.layers.perceptron import Perceptron
from trainer.layers.request_embeddings import Embedded
from trainer.models.base import Base, mean
from trainer.models.request_model import Outputs, cross_entropy, spread
from trainer.requests.input import Requests, Rows


class Uie(Base):
    """The base with two of the paper's enhancements, each a memory of centroids: of users' features (user profile
    enhancement) and of what they bought (user consistent-behaviour enhancement). A user gets the mix of the centroids
    that are nearest to it, and a personalised vector that a network makes of that mix and its own.

    The clusters move by the gradient of the distance between a user and the nearest centroid, as in their later
    versions. The enhancement of candidates and the auxiliary towers are left out.
    """

    def make(self, data: Requests) -> None:
        """See ``RequestModel``."""
        super().make(data)
        d, sparse = self.config.model.d, self.config.sparse
        self.enter = [Perceptron((d,), last=None, name=f"enter_{i}") for i in range(2)]
        self.memories = [Memory(sparse.memory, d, sparse.nearest, name=f"memory_{i}") for i in range(2)]
        self.personal = [Perceptron((d,), last="tanh", name=f"personal_{i}") for i in range(2)]
        for enter, width in zip(self.enter, (self.rest, self.embeddings.width), strict=True):
            enter.build((None, width))
        for memory, personal in zip(self.memories, self.personal, strict=True):
            memory.build((None, d))
            personal.build((None, 2 * d))

    def make_network(self, width: int) -> None:
        """See ``Base``; it also reads the enhancements."""
        super().make_network(width + 4 * self.config.model.d)

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``."""
        name = self.config.choir.sequence
        found, apart = [], 0.0
        for own, enter, memory, personal in zip(
            (self.plain(parts), mean(parts.items[name], parts.there[name])),
            self.enter, self.memories, self.personal, strict=True,
        ):  # fmt: skip
            question = enter(own)
            mixed, distance = memory(question)
            found += [mixed, personal(tf.concat([mixed, question], axis=1))]
            apart += tf.reduce_mean(distance)
        features = tf.concat([self.features(parts), spread(tf.concat(found, axis=1), parts.candidates)], axis=-1)
        return Outputs(self.logits(features, seed), {}, {"distance": apart})

    def loss_of(self, outputs: Outputs, rows: Rows) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """See ``RequestModel``."""
        loss, count = cross_entropy(outputs.logits, rows)
        apart = outputs.parts["distance"]
        return loss + self.config.sparse.weight * apart, count, {"loss/clusters": apart[None]}
