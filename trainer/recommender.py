"""A sequential recommender: the item table, what is known of the items, and the model over histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from trainer import losses
from trainer.config import LossConfig, ModelConfig
from trainer.layers.flat import FlatWeights
from trainer.layers.groups import by_length, widths
from trainer.layers.tables import EmbeddingTable, normal, zeros
from trainer.models import MODELS
from trainer.optimizers import Optimizer
from trainer.sampling import Popularity, unseen
from trainer.step import Step


class Batch(NamedTuple):
    """What one step is computed from."""

    history: tf.Tensor  # (B, L)
    targets: tf.Tensor  # (B, L)
    negatives: tf.Tensor  # (B, L), (S,) or, where the loss has none, (0,)
    seed: tf.Tensor  # (2,), of dropout


class Recommender:
    """What is trained, saved, evaluated and exported.

    Args:
      config: of the model. size: N, number of item indices, padding included.
      knowledge: (N, D) frozen item vectors that the model projects and adds to the id's; None for ids only.
      devices: one a parameter server; ``(None,)`` keeps everything in this process.

    Raises:
      ValueError: ``config.kind`` is unknown, or ``knowledge`` has not N rows.
    """

    def __init__(
        self,
        config: ModelConfig,
        size: int,
        knowledge: np.ndarray | None = None,
        devices: Sequence[str | None] = (None,),
        seed: int = 0,
    ) -> None:
        if config.kind not in MODELS:
            raise ValueError(f"model.kind must be one of {sorted(MODELS)}, got {config.kind!r}")
        if knowledge is not None and len(knowledge) != size:
            raise ValueError(f"knowledge must have {size} rows, one an item index, got {len(knowledge)}")
        self.config, self.size = config, size
        tf_keras.utils.set_random_seed(seed)
        self.model = MODELS[config.kind](config)
        self.model.build((None, config.max_length, config.d), None if knowledge is None else knowledge.shape[1])
        self.dense = FlatWeights(self.model, devices)
        stddev = config.item_stddev or (2.0 / (size + config.d)) ** 0.5
        self.items = EmbeddingTable("item", size, config.d, normal(stddev), seed, devices)
        self.knowledge: EmbeddingTable | None = None
        if knowledge is not None:
            width = knowledge.shape[1]
            self.knowledge = EmbeddingTable("knowledge", size, width, zeros(), 0, devices, trainable=False)
            self.knowledge.assign(knowledge)

    @property
    def tables(self) -> list[EmbeddingTable]:
        """Every table, trainable or frozen."""
        return [self.items] if self.knowledge is None else [self.items, self.knowledge]

    def add_slots(self, optimizer: Optimizer) -> None:
        """Makes the optimizer's variables beside every trainable parameter."""
        optimizer.add_slots(self.tables, self.dense)

    def batch(
        self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, config: LossConfig, popularity: Popularity
    ) -> Batch:
        """Draws a step's negatives.

        Args:
          history, targets: (B, L) indices, right-aligned; at each position of ``targets`` the item that follows.
          seed: (2,) of the step.
        """
        dropout_seed, sample_seed = tf.unstack(tf.random.split(seed, 2))
        negatives = tf.zeros((0,), tf.int32)
        if config.kind == "sampled_softmax":
            negatives = popularity.draw(config.negatives, sample_seed)
        elif config.kind == "bce":
            negatives = unseen(history, targets, self.size, sample_seed)
        return Batch(history, targets, negatives, dropout_seed)

    def touched(self, batches: Sequence[Batch], config: LossConfig) -> dict[EmbeddingTable, tf.Tensor | None]:
        """What the losses of some batches read of each table: ids with repeats, or None for all of it."""
        ids = None
        if config.kind != "softmax":
            ids = tf.concat([tf.reshape(part, (-1,)) for batch in batches for part in batch[:3]], axis=0)
        return dict.fromkeys(self.tables, ids)

    def loss(
        self, step: Step, batch: Batch, config: LossConfig, popularity: Popularity
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean loss over all positions of a batch, and their number T."""
        history, targets, negatives, seed = batch
        if config.kind == "softmax":
            unique, rows, places = None, step.whole(self.items), [history, targets]
        else:
            unique, rows, places = step.rows(self.items, history, targets, negatives)
        with step.weights(self.dense):
            vectors = self.model.items(rows, self._known(step, unique))
            along = [targets, *(p for p in places[1:] if p.shape.rank == 2)]
            h, target, hit, *rest = by_length(self._body(seed), history, places[0], vectors, *along)
        count = tf.size(target)
        hits = tf.gather(vectors, hit)
        if config.kind == "softmax":
            return losses.softmax(h, vectors, target), count
        if config.kind == "sampled_softmax":
            log_q = tf.math.log(tf.constant(popularity.probability) * float(config.negatives) + 1e-30)
            sampled = tf.gather(vectors, places[2])
            return losses.sampled_softmax(h, hits, sampled, target, negatives, log_q), count
        if config.kind == "bce":
            return losses.binary(h, hits, tf.gather(vectors, rest[0])), count
        return losses.in_batch(h, hits, target, tf.constant(popularity.probability)), count

    def pull(self, slot: str = "") -> tf.Tensor:
        """Copies the dense weights (or a slot's) into the model; returns all items' vectors (N, d)."""
        self.dense.pull(slot)
        return self.vectors(slot)

    def vectors(self, slot: str = "") -> tf.Tensor:
        """All items' vectors (N, d) from the tables (or a slot of theirs) and the weights the model computes with."""
        known = None if self.knowledge is None else self.knowledge.whole()
        return self.model.items(self.items.whole(slot), known)

    def embed(self, history: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        """history (B, L), vectors (N, d) -> the users' vectors (B, d), with the model's own (pulled) weights."""
        return self.model(tf.gather(vectors, history), history > 0)[:, -1]

    def scores(self, history: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        """history (B, L), vectors (N, d) -> every item's score (B, N)."""
        return tf.matmul(self.embed(history, vectors), vectors, transpose_b=True)

    def _known(self, step: Step, unique: tf.Tensor | None) -> tf.Tensor | None:
        if self.knowledge is None:
            return None
        return step.whole(self.knowledge) if unique is None else step.rows(self.knowledge, unique)[1]

    def _body(self, seed: tf.Tensor):
        seeds = tf.unstack(tf.random.split(seed, len(widths(self.config.max_length))))
        return lambda x, mask, group: self.model(x, mask, seeds[group])
