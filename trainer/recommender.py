"""A sequential recommender: the item table, what is known of the items, and the model over histories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from feature_store.knowledge_shards import Statistics
from trainer import likeness
from trainer.attributes import Attributes
from trainer.config import CocoConfig, ModelConfig
from trainer.layers.features import Feature, FeatureTables
from trainer.layers.flat import FlatWeights
from trainer.layers.prompt_codebook import Selection
from trainer.layers.tables import EmbeddingTable, normal, zeros
from trainer.models import MODELS
from trainer.models.backbone import Backbone
from trainer.models.coco import CoCo, Know
from trainer.optimizers import Optimizer
from trainer.step import Step

ATTRIBUTE = "attribute"


class Recommender:
    """What is trained, saved, evaluated and exported.

    Args:
      config: of the model. size: N, number of item indices, padding included.
      knowledge: (N, D) frozen item vectors that the model projects and adds to the id's, or with ``config.likeness``
        compares with those of the user's items (`trainer.likeness`); None for ids only.
      devices: one a parameter server; ``(None,)`` keeps everything in this process.
      attributes: of the N items, where ``config.attributes`` names some.
      coco: prompts and alignment around the model, where it is enabled. statistics: of its stored knowledge.

    Raises:
      ValueError: ``knowledge`` or ``attributes`` has not N rows, or attributes are missing or not asked for.
    """

    def __init__(
        self,
        config: ModelConfig,
        size: int,
        knowledge: np.ndarray | None = None,
        devices: Sequence[str | None] = (None,),
        seed: int = 0,
        attributes: Attributes | None = None,
        coco: CocoConfig | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        if knowledge is not None and len(knowledge) != size:
            raise ValueError(f"knowledge must have {size} rows, one an item index, got {len(knowledge)}")
        if attributes is not None and len(attributes.ids) != size:
            raise ValueError(f"attributes must have {size} rows, one an item index, got {len(attributes.ids)}")
        if bool(config.attributes) != (attributes is not None):
            given = "none" if attributes is None else attributes.count
            raise ValueError(f"attributes must be those of model.attributes {config.attributes}, got {given}")
        self.config, self.size, self.attributes = config, size, attributes
        tf_keras.utils.set_random_seed(seed)
        known = None if knowledge is None else knowledge.shape[1]
        self.model, self.coco = networks(config, coco, known, seed, statistics)
        self.dense = FlatWeights(self.coco or self.model, devices)
        stddev = config.item_stddev or (2.0 / (size + config.d)) ** 0.5
        self.items = EmbeddingTable("item", size, config.d, normal(stddev), seed, devices)
        self.knowledge: EmbeddingTable | None = None
        if knowledge is not None:
            width = knowledge.shape[1]
            self.knowledge = EmbeddingTable("knowledge", size, width, zeros(), 0, devices, trainable=False)
            self.knowledge.assign(knowledge)
        self.features: FeatureTables | None = None
        if attributes is not None:
            feature = Feature(ATTRIBUTE, attributes.count, config.d, "sequence")
            stddev = (2.0 / (attributes.count + config.d)) ** 0.5
            self.features = FeatureTables([feature], normal(stddev), seed, devices, spread=False, name=ATTRIBUTE)

    @property
    def tables(self) -> list[EmbeddingTable]:
        """Every table, trainable or frozen."""
        known = [] if self.knowledge is None else [self.knowledge]
        return [self.items, *known, *(self.features.tables if self.features else [])]

    @property
    def width(self) -> int:
        """Of an item's row of ``vectors``."""
        return self.model.width + (self.knowledge.width if self.config.likeness else 0)

    def add_slots(self, optimizer: Optimizer) -> None:
        """Makes the optimizer's variables beside every trainable parameter."""
        optimizer.add_slots(self.tables, self.dense)

    def known(self, step: Step, unique: tf.Tensor | None) -> tf.Tensor | None:
        """The knowledge of some items (u,), or with None of all, as a step reads it; None where it is told of none."""
        if self.knowledge is None or self.config.likeness:
            return None
        return step.whole(self.knowledge) if unique is None else step.rows(self.knowledge, unique)[1]

    def attributes_of(self, items: tf.Tensor) -> tf.Tensor:
        """Items (n,) -> their attributes (n, A); -1 pads."""
        return tf.gather(tf.constant(self.attributes.ids), items)

    def pull(self, slot: str = "") -> tf.Tensor:
        """Copies the dense weights (or a slot's) into the model; returns ``vectors``."""
        self.dense.pull(slot)
        return self.vectors(slot)

    def vectors(self, slot: str = "") -> tf.Tensor:
        """All items' vectors (N, width), from the tables (or a slot of theirs) and the weights the model has now."""
        known = None if self.knowledge is None else self.knowledge.whole()
        vectors = self.model.items(self.items.whole(slot), None if self.config.likeness else known)
        if self.model.reads_attributes:
            ids = self.attributes_of(tf.range(self.size))
            there = ids >= 0
            rows = tf.gather(self.features.tables[0].whole(slot), tf.maximum(ids, 0))
            vectors = tf.concat([vectors, self.model.describe(rows, there)], axis=1)
        return tf.concat([vectors, likeness.coordinates(known)], axis=1) if self.config.likeness else vectors

    def states(self, history: tf.Tensor, vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """history (B, L), vectors (N, width) -> h_RS (B, L, d), with the model's own weights, and its mask (B, L)."""
        ids = self.model.question(history)
        x = tf.gather(vectors[:, : self.model.width], tf.maximum(ids, 0))
        x = self.model.hide(x, ids)
        return self.model(x, ids != 0), ids != 0

    def embed(self, history: tf.Tensor, vectors: tf.Tensor, know: Know | None = None) -> tf.Tensor:
        """history (B, L), vectors (N, width) -> the users' vectors, with the model's own (pulled) weights.

        They are (B, d), and with ``config.likeness`` (B, d + W), where ``candidates`` of the items are as wide.

        Args:
          know: gives CoCo's knowledge of the users; without it they have none, and their vector is h_RS.
        """
        h, seen = self.states(history, vectors)
        if self.coco is None or know is None:
            user = h[:, -1]
        else:
            user = self.coco.aligned(h, seen, know(self.coco.prompts(h[:, -1]), history))
        if not self.config.likeness:
            return user
        asked = likeness.of_users(history, vectors[:, self.model.width :])
        return tf.concat([user, self.config.likeness * asked], axis=1)

    def selection(self, history: tf.Tensor, vectors: tf.Tensor) -> Selection:
        """The prompts that CoCo gives the users; history and vectors as of ``embed``."""
        return self.coco.prompts(self.states(history, vectors)[0][:, -1])

    def candidates(self, vectors: tf.Tensor) -> tf.Tensor:
        """The part of items' vectors (…, width) that users' vectors are multiplied with: (…, d), or (…, d + W)."""
        scored = vectors[..., : self.config.d]
        if not self.config.likeness:
            return scored
        return tf.concat([scored, vectors[..., self.model.width :]], axis=-1)

    def scores(self, history: tf.Tensor, vectors: tf.Tensor, know: Know | None = None) -> tf.Tensor:
        """history (B, L), vectors (N, width) -> every item's score (B, N); ``know`` as of ``embed``."""
        return tf.matmul(self.embed(history, vectors, know), self.candidates(vectors), transpose_b=True)


def networks(
    config: ModelConfig,
    coco: CocoConfig | None,
    knowledge_width: int | None,
    seed: int = 0,
    statistics: Statistics | None = None,
) -> tuple[Backbone, CoCo | None]:
    """The built backbone, and CoCo around it where that is enabled; ``knowledge_width`` is None without knowledge."""
    model = MODELS[config.kind](config)
    model.build((None, config.max_length, config.d), None if config.likeness else knowledge_width)
    return model, CoCo(model, coco, seed, statistics) if coco and coco.enabled else None
