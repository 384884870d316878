"""S3-Rec: self-supervised learning for sequential recommendation (Zhou et al., CIKM 2020)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.masking import MASKED
from trainer.models.backbone import Backbone


class S3Rec(Backbone):
    """SASRec whose weights were first trained, bidirectionally, on four tasks: see ``trainer.pretraining``.

    ``aap``, ``mip``, ``map`` and ``sp`` are the tasks' matrices W, of no use after them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.aap, self.mip, self.map, self.sp = (
            tf_keras.layers.Dense(config.d, use_bias=False, name=name) for name in ("aap", "mip", "map", "sp")
        )

    def build_head(self, d: int) -> None:
        self.mask_vector = self.add_weight("mask_vector", (1, d), initializer="zeros")
        for task in (self.aap, self.mip, self.map, self.sp):
            task.build((None, d))

    def hide(self, x: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return tf.where(ids[..., None] == MASKED, self.mask_vector, x)

    def context(self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """As ``call``, but each position sees all others: what the tasks compute with."""
        return self.encoder(x, mask, seed, causal=False)
