"""The transformer that the backbones share: positions, dropout, blocks."""

from __future__ import annotations

import dataclasses

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.layers.attention import TransformerBlock
from trainer.layers.dropout import dropout


class Encoder(tf_keras.layers.Layer):
    """Right-aligned vectors -> one vector per position.

    Positions are counted from the newest item back, so a shorter slice of the same sequence gets the same positions.
    With ``norm: post`` what goes into the blocks is normalised, otherwise what comes out of them.
    """

    def __init__(self, config: ModelConfig, **kwargs: object) -> None:
        super().__init__(**kwargs)
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

    def build(self, shape: tf.TensorShape) -> None:
        self.position = self.add_weight(
            "position", (self.config.max_length, self.config.d), initializer="glorot_normal"
        )
        for part in (*self.blocks, self.norm):
            part.build(shape)
        super().build(shape)

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None, causal: bool = True
    ) -> tf.Tensor:
        """x (b, l, d), mask (b, l) false at padding, l ≤ L -> (b, l, d); dropout where a seed is given."""
        seeds = [None] * (len(self.blocks) + 1)
        if seed is not None:
            seeds = tf.unstack(tf.random.split(seed, len(seeds)))
        length = tf.shape(x)[1]
        x = x * self.config.d**0.5 + self.position[self.config.max_length - length :]
        if self.config.norm == "post":
            x = self.norm(x)
        x = dropout(x, self.config.dropout, seeds[0])
        for block, block_seed in zip(self.blocks, seeds[1:], strict=True):
            x = block(x, mask, block_seed, causal)
        return x if self.config.norm == "post" else self.norm(x)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, object]) -> Encoder:
        return cls(**{**config, "config": ModelConfig(**config["config"])})
