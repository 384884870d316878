"""What every backbone is: item vectors of a history in, one vector per position out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.layers.encoder import Encoder


class Window(NamedTuple):
    """What a model is asked about one batch of sequences. Both (B, L), right-aligned."""

    inputs: tf.Tensor  # item indices; 0 is padding, MASKED an item that is hidden
    targets: tf.Tensor  # the item to predict at each position; 0 where there is none


class Backbone(tf_keras.Model):
    """A sequential model over right-aligned histories: the newest item stands at position L − 1, padding comes first.

    A subclass says what it is trained on (``window``), what it reads to answer (``question``), and what it computes
    (``call``). As it stands here it is a causal transformer that at every position predicts the next item.
    """

    reads_attributes = False
    """Whether an item's vector is followed by one of its attributes: see ``describe`` in ``FDSA``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(name=config.kind)
        self.config = config
        self.encoder = Encoder(config, name="encoder")
        self.knowledge: Callable[[tf.Tensor], tf.Tensor] | None = None

    @property
    def width(self) -> int:
        """Of what ``call`` reads of an item. An item's score is of the first d of it."""
        return self.config.d * (2 if self.reads_attributes else 1)

    def build(self, shape: tuple[int | None, int | None, int], knowledge_width: int | None = None) -> None:
        """Makes the weights; ``knowledge_width`` is D where the items have knowledge vectors."""
        self.encoder.build(tf.TensorShape((*shape[:-1], self.config.d)))
        self.build_head(self.config.d)
        if knowledge_width:
            start = tf_keras.initializers.Identity(self.config.knowledge_start)
            self.knowledge = tf_keras.layers.Dense(
                self.config.d, use_bias=False, kernel_initializer=start, name="knowledge"
            )
            self.knowledge.build((None, knowledge_width))
        self.built = True

    def adapt(self, project: Callable[[tf.Tensor], tf.Tensor], width: int) -> None:
        """Has ``project`` make d values of the items' knowledge (n, D), in place of a linear layer of its own.

        Args:
          width: the D that ``project`` takes.
        Raises:
          ValueError: the items have no knowledge, or of another width.
        """
        there = 0 if self.knowledge is None else self.knowledge.kernel.shape[0]
        if there != width:
            raise ValueError(f"model.knowledge must be as wide as that of users, {width}, received {there}")
        self.knowledge = project

    def build_head(self, d: int) -> None:
        """Makes the weights that a subclass has beside the encoder."""

    def window(self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> Window:
        """What a training step asks.

        Args:
          history, targets: (B, L) indices, right-aligned; at each position of ``targets`` the item that follows.
          seed: (2,) of the step.
        """
        return Window(history, tf.where(history > 0, targets, 0))

    def question(self, history: tf.Tensor) -> tf.Tensor:
        """Histories (B, L) -> inputs (B, L), whose last position's vector is the user's."""
        return history

    def hide(self, x: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """x (b, l, width) of inputs (b, l) -> the same with what stands for a hidden item where ids are MASKED."""
        return x

    def items(self, rows: tf.Tensor, knowledge: tf.Tensor | None) -> tf.Tensor:
        """Id rows (n, d), plus a projection of the items' knowledge (n, D) where there is one -> (n, d).

        Of length 1 where scores are cosines.
        """
        vectors = rows if knowledge is None else rows + self.knowledge(knowledge)
        return tf.math.l2_normalize(vectors, axis=1) if self.config.temperature else vectors

    def call(self, x: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x (b, l, width), mask (b, l) false at padding, l ≤ L -> (b, l, d); dropout where a seed is given."""
        return self.pointed(self.encoder(x, mask, seed))

    def pointed(self, x: tf.Tensor) -> tf.Tensor:
        """Outputs (…, d), of length 1 / temperature where scores are cosines."""
        return tf.math.l2_normalize(x, axis=-1) / self.config.temperature if self.config.temperature else x

    def get_config(self) -> dict[str, object]:
        return {"config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, object], custom_objects: object = None) -> Backbone:
        return cls(ModelConfig(**config["config"]))
