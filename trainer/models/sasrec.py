"""SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.layers.attention import TransformerBlock
from trainer.layers.dropout import dropout


class SASRec(tf_keras.Model):
    """Item vectors of a history -> one vector per position that points at the next item.

    Histories are right-aligned: the newest item stands at position L − 1, padding comes first. Positions are counted
    from the newest item back, so a shorter slice of the same history gets the same positions.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(name="sasrec")
        self.config = config
        self.blocks = [
            TransformerBlock(
                config.d,
                config.heads,
                config.feed_forward * config.d,
                config.dropout,
                config.activation,
                config.norm,
                name=f"block_{i}",
            )
            for i in range(config.blocks)
        ]
        self.norm = tf_keras.layers.LayerNormalization(epsilon=1e-8)
        self.knowledge: tf_keras.layers.Dense | None = None

    def build(self, shape: tuple[int | None, int | None, int], knowledge_width: int | None = None) -> None:
        """Makes the weights; ``knowledge_width`` is D where the items have knowledge vectors."""
        d = self.config.d
        self.position = self.add_weight("position", (self.config.max_length, d), initializer="glorot_normal")
        for block in self.blocks:
            block.build((*shape[:-1], d))
        self.norm.build((*shape[:-1], d))
        if knowledge_width:
            self.knowledge = tf_keras.layers.Dense(d, use_bias=False, kernel_initializer="zeros", name="knowledge")
            self.knowledge.build((None, knowledge_width))
        self.built = True

    def items(self, rows: tf.Tensor, knowledge: tf.Tensor | None) -> tf.Tensor:
        """Id rows (n, d), plus a projection of the items' knowledge (n, D) where there is one -> (n, d).

        Of length 1 where scores are cosines.
        """
        vectors = rows if knowledge is None else rows + self.knowledge(knowledge)
        return tf.math.l2_normalize(vectors, axis=1) if self.config.temperature else vectors

    def call(self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x (b, l, d) item vectors, mask (b, l) true at items, l ≤ L -> (b, l, d); dropout where a seed is given."""
        seeds = [None] * (len(self.blocks) + 1)
        if seed is not None:
            seeds = tf.unstack(tf.random.split(seed, len(seeds)))
        length = tf.shape(x)[1]
        x = x * self.config.d**0.5 + self.position[self.config.max_length - length :]
        x = dropout(x, self.config.dropout, seeds[0])
        for block, block_seed in zip(self.blocks, seeds[1:], strict=True):
            x = block(x, mask, block_seed)
        x = self.norm(x)
        return tf.math.l2_normalize(x, axis=-1) / self.config.temperature if self.config.temperature else x

    def get_config(self) -> dict[str, object]:
        return {"config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, object], custom_objects: object = None) -> SASRec:
        return cls(ModelConfig(**config["config"]))
