"""The task of sequential recommenders: which item comes next, judged by full ranking."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import tensorflow as tf

from trainer import metrics, warm_start
from trainer.averaging import SLOT, WeightAverage
from trainer.cluster.ranking import ranking
from trainer.cluster.strategy import Runtime
from trainer.cluster.work_queue import Shard
from trainer.collaboration import Collaboration
from trainer.config import TrainConfig
from trainer.input import Examples, read_records, training_windows
from trainer.objective import Objective, Prediction
from trainer.optimizers import Optimizer
from trainer.origin import origin
from trainer.pretraining import Pretraining
from trainer.ranking import Ranking
from trainer.recommender import Recommender
from trainer.sampling import popularity
from trainer.unit import Function, unit_function


class NextItem:
    """A ``Task``: a recommender, on windows of histories.

    Args:
      runtime: where steps run. source: a model whose weights are the first, where there is no checkpoint.
    """

    selection = "ndcg@10"

    def __init__(
        self,
        runtime: Runtime,
        examples: Examples,
        recommender: Recommender,
        config: TrainConfig,
        source: warm_start.Source | None = None,
    ) -> None:
        self._runtime, self._examples, self._recommender = runtime, examples, recommender
        self._config, self._source = config, source
        self.tables, self.dense = recommender.tables, recommender.dense
        self.as_trained = [] if recommender.coco is None else recommender.coco.own
        self.pretrain_epochs = config.pretrain.epochs
        self.objective: Objective = Prediction(recommender, config.loss, popularity(examples, config))
        knowing, self._reader, self.link, self._stored = origin(config, recommender, examples)
        self.clients = [] if self.link is None else [runtime.per_worker(self.link.client)]
        if knowing is not None:
            self.objective = Collaboration(recommender, self.objective, knowing)

    def shards(self) -> list[Shard]:
        """See ``Task``."""
        return self._examples.shards("train")

    def unit(self, optimizer: Optimizer, steps: int, workers: int, pretraining: bool) -> Function:
        """See ``Task``."""
        objective, asks = self.objective, self.link is not None
        if pretraining:
            objective, asks = Pretraining(self._recommender, self._config.pretrain), False
        stored = None if pretraining else self._stored
        vocabulary, length = self._examples.vocabulary, self._config.model.max_length
        held_back = self._config.held_back

        def read(files: tf.Tensor, firsts: tf.Tensor, counts: tf.Tensor) -> dict[str, Any]:
            serialized = read_records(files, firsts, counts)
            history, targets = training_windows(serialized, vocabulary, length, held_back)
            rows: dict[str, Any] = {"history": history, "targets": targets}
            return rows if stored is None else {**rows, "stored": stored.read(files, firsts, counts)}

        overlap = asks and self._config.coco.overlap
        return unit_function(read, objective, optimizer, self.dense, self._config, steps, workers, asks, overlap)

    def validate(self) -> dict[str, float]:
        """See ``Task``: recall, NDCG and MRR of full ranking."""
        self._ranking.refresh()
        found = self._ranking.rank("valid")
        return {n: float(v.mean()) for n, v in metrics.per_user(found.above, found.tied, (5, 10)).items()}

    def start(self, optimizer: Optimizer, average: WeightAverage | None) -> dict[str, Any]:
        """See ``Task``."""
        if self._source is None:
            return {}
        ids = self._examples.vocabulary.ids
        return warm_start.start(self._source, self._recommender, optimizer, ids, self._config, average)

    @cached_property
    def _ranking(self) -> Ranking:
        slot = SLOT if self._config.average else ""  # whose variables the loop makes after this task
        return ranking(self._runtime, self._examples, self._recommender, slot, keep=True, reader=self._reader)
