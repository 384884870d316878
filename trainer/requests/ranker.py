"""A model of labelled requests with its tables."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from trainer.layers.features import FeatureTables
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, normal
from trainer.models import REQUEST_MODELS
from trainer.models.request_model import Outputs
from trainer.optimizers import Optimizer
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests, Rows
from trainer.step import Step


class RequestRanker:
    """What is trained, saved, evaluated and exported.

    Args:
      config: of the training. data: whose features and sizes it is made for.
      devices: one a parameter server; ``(None,)`` keeps everything in this process.
    """

    def __init__(
        self, config: RequestTrainConfig, data: Requests, devices: Sequence[str | None] = (None,)
    ) -> None:
        self.config, self.data = config, data
        tf_keras.utils.set_random_seed(config.seed)
        self.model = REQUEST_MODELS[config.model.kind](config, data)
        self.dense = FlatWeights(self.model, devices)
        features = self.model.embeddings.features
        self.features = FeatureTables(features, normal(config.model.stddev), config.seed, devices)

    @property
    def tables(self) -> list[EmbeddingTable]:
        return self.features.tables

    def add_slots(self, optimizer: Optimizer) -> None:
        """Makes the optimizer's variables beside every parameter."""
        optimizer.add_slots(self.tables, self.dense)

    def ids(self, rows: Rows) -> dict[str, tf.Tensor]:
        """What ``outputs`` looks up in ``features``."""
        return self.model.embeddings.ids(self.model.prepared(rows))

    def outputs(self, step: Step, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """With the parameters as ``step`` reads them, dense weights included."""
        vectors = self.features.lookup(step, self.ids(rows))
        with step.weights(self.dense):
            return self._of(vectors, rows, seed)

    def answer(self, rows: Rows) -> Outputs:
        """With the tables' own rows and the model's own (pulled) weights, as in serving."""
        with Step(tf.constant(0, tf.int64)) as step:
            return self._of(self.features.lookup(step, self.ids(rows)), rows, None)

    def _of(self, vectors: dict[str, tf.Tensor], rows: Rows, seed: tf.Tensor | None) -> Outputs:
        rows = self.model.prepared(rows)
        return self.model(self.model.embeddings.embedded(vectors, rows), rows, seed)
