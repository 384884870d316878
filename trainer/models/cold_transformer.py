"""Cold-Transformer: users' vectors moved to where those of warm users are (Li et al., SIGIR 2022)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.attention import TransformerBlock
from trainer.layers.request_embeddings import Embedded
from trainer.models.base import Base
from trainer.models.request_model import Outputs, spread
from trainer.requests.input import Requests, Rows


class ColdTransformer(Base):
    """The base with the paper's two ideas. Label encoding: what a user bought and what it clicked and did not buy are
    one sequence of fused behaviours, each item with a vector of its label added, that a transformer reads. Embedding
    adaption: from the context that comes of it a layer gives what is added to the vector of the user's own features.

    Their two towers are left out, since every model here sees user and candidate together.
    """

    def make(self, data: Requests) -> None:
        """See ``RequestModel``."""
        super().make(data)
        config, sparse, width = self.config.model, self.config.sparse, self.embeddings.width
        self.enter = tf_keras.layers.Dense(config.d, name="enter")
        self.enter.build((None, width))
        self.label = self.add_weight("label", (2, config.d), initializer="random_normal")
        self.blocks = [
            TransformerBlock(config.d, sparse.heads, 2 * config.d, config.dropout, norm="pre")
            for _ in range(sparse.blocks)
        ]
        for block in self.blocks:
            block.build((None, None, config.d))
        self.adapt = tf_keras.layers.Dense(self.rest, name="adapt")
        self.adapt.build((None, config.d + self.rest))

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``."""
        seeds = [None] * (1 + len(self.blocks)) if seed is None else tf.unstack(
            tf.random.split(seed, 1 + len(self.blocks))
        )
        names = [self.config.choir.sequence, self.config.sparse.skipped]
        x = tf.concat([self.enter(parts.items[name]) + self.label[i] for i, name in enumerate(names)], axis=1)
        there = tf.concat([parts.there[name] for name in names], axis=1)
        for block, own in zip(self.blocks, seeds[1:], strict=True):
            x = block(x, there, own, causal=False)
        weights = tf.cast(there, x.dtype)[..., None]
        context = tf.reduce_sum(x * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)  # (n, d)
        plain = self.plain(parts)
        adapted = plain + self.adapt(tf.concat([context, plain], axis=1))
        features = tf.concat([*self.attended(parts), spread(adapted, parts.candidates)], axis=-1)
        return Outputs(self.logits(features, seeds[0]), {}, {})
