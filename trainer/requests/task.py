"""The task of models over labelled requests: one label a candidate, judged over users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from feature_store.checks import one_of
from trainer.averaging import WeightAverage
from trainer.cluster.strategy import Runtime
from trainer.cluster.work_queue import Shard
from trainer.input import read_records
from trainer.layers.tables import EmbeddingTable
from trainer.optimizers import Optimizer
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests, Rows
from trainer.requests.metrics import metrics_of
from trainer.requests.ranker import RequestRanker
from trainer.requests.scores import RequestScores
from trainer.step import Step
from trainer.unit import Function, unit_function


class RequestBatch(NamedTuple):
    """What one step is computed from."""

    rows: Rows
    seed: tf.Tensor  # (2,), of dropout


class RequestObjective:
    """The model's own loss. An ``Objective``."""

    def __init__(self, ranker: RequestRanker) -> None:
        self._ranker = ranker

    def batch(self, *, seed: tf.Tensor, rows: Rows) -> RequestBatch:
        """See ``Objective``."""
        return RequestBatch(rows, seed)

    def touched(self, batches: Sequence[RequestBatch]) -> dict[EmbeddingTable, tf.Tensor | None]:
        """See ``Objective``."""
        each = [self._ranker.ids(batch.rows) for batch in batches]
        return self._ranker.features.touched({name: tf.concat([ids[name] for ids in each], axis=0) for name in each[0]})

    def loss(self, step: Step, batch: RequestBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """See ``Objective``; tells of the loss's parts."""
        outputs = self._ranker.outputs(step, batch.rows, batch.seed)
        loss, count, told = self._ranker.model.loss_of(outputs, batch.rows)
        for name, values in told.items():
            step.tell(name, values)
        return loss, count


class RequestTask:
    """A ``Task``.

    Args:
      runtime: where steps run.

    Raises:
      ValueError: validation has no metric of the name ``config.select``.
    """

    as_trained = ()
    pretrain_epochs = 0
    link = None

    def __init__(self, runtime: Runtime, data: Requests, ranker: RequestRanker, config: RequestTrainConfig) -> None:
        self._data, self._ranker, self._config = data, ranker, config
        self.tables, self.dense, self.selection = ranker.tables, ranker.dense, config.select
        self.clients: list[Any] = []
        self.objective = RequestObjective(ranker)
        self._scores = RequestScores(runtime, data, ranker)

    def shards(self) -> list[Shard]:
        """See ``Task``."""
        return self._data.shards("train")

    def unit(self, optimizer: Optimizer, steps: int, workers: int, pretraining: bool) -> Function:
        """See ``Task``."""

        def read(files: tf.Tensor, firsts: tf.Tensor, counts: tf.Tensor) -> dict[str, Any]:
            return {"rows": self._data.parse(read_records(files, firsts, counts))}

        return unit_function(read, self.objective, optimizer, self.dense, self._config, steps, workers)

    def validate(self) -> dict[str, float]:
        """See ``Task``: everything of ``trainer.requests.metrics.metrics_of``."""
        found = metrics_of(self._scores.of("valid"))
        one_of("select", self.selection, tuple(found))
        return found

    def start(self, optimizer: Optimizer, average: WeightAverage | None) -> dict[str, Any]:
        """See ``Task``: nothing."""
        return {}
