"""A split's requests, scored wherever training runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from feature_store.request_schema import LABEL_TIME, REQUEST_ID, USER_ID
from trainer.cluster.strategy import Runtime
from trainer.cluster.work_queue import in_order
from trainer.input import PIECES, read_records
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker
from trainer.step import Step

_KEYS = {
    USER_ID: tf.io.FixedLenFeature((), tf.string),
    REQUEST_ID: tf.io.FixedLenFeature((), tf.string),
    LABEL_TIME: tf.io.FixedLenFeature((), tf.int64),
}


@dataclass(frozen=True)
class Scored:
    """R requests with C candidates at most, as a model answered them, in the order of the split's files.

    Raises:
      ValueError: there are none, or a score of a candidate is NaN.
    """

    user: np.ndarray  # (R,) of str
    request: np.ndarray  # (R,) of str
    time: np.ndarray  # (R,) int64, microseconds since 1970
    present: np.ndarray  # (R, C) bool, False at padding
    labels: np.ndarray  # (R, C)
    logits: np.ndarray  # (R, C)
    told: dict[str, np.ndarray]  # (R, C) each, see trainer.models.request_model.Outputs

    def __post_init__(self) -> None:
        if not len(self.user):
            raise ValueError("there is nothing to score: the split has no requests")
        if np.isnan(self.logits[self.present]).any():
            raise ValueError("scores must not be NaN: a model that diverged has no ranking")

    def where(self, rows: np.ndarray) -> Scored:
        """Those of some requests: (R,) bool, or their places."""
        told = {name: values[rows] for name, values in self.told.items()}
        parts = (self.user, self.request, self.time, self.present, self.labels, self.logits)
        return Scored(*(part[rows] for part in parts), told)


class RequestScores:
    """Scores splits with the parameters as they are. On a cluster its workers share the requests.

    Args:
      batch: requests scored at once.
    """

    def __init__(self, runtime: Runtime, data: Requests, ranker: RequestRanker, batch: int = 1024) -> None:
        self._runtime, self._data, self._batch = runtime, data, batch

        @tf.function(input_signature=PIECES, autograph=False)
        def unit(files, firsts, counts):
            serialized = read_records(files, firsts, counts)
            rows, keys = data.parse(serialized), tf.io.parse_example(serialized, _KEYS)
            with Step(tf.constant(0, tf.int64), ranker.dense) as step:
                found = ranker.outputs(step, rows)
            keyed = (keys[USER_ID], keys[REQUEST_ID], keys[LABEL_TIME])
            return (*keyed, rows.present, rows.labels, found.logits, found.told)

        self._unit = unit

    def of(self, split: str) -> Scored:
        """Of every request of a split.

        Raises:
          ValueError: as ``Scored``.
        """
        results = []
        for unit in in_order(self._data.shards(split), self._batch):
            pieces = tuple(tf.constant(part) for part in unit.arguments()[:3])
            results.append(self._runtime.schedule(self._unit, pieces))
        parts = [result.fetch() for result in results]
        if not parts:
            raise ValueError(f"{self._data.folder}: there are no requests in the split {split!r}")
        *columns, told = zip(*parts, strict=True)
        user, request, *rest = (np.concatenate(column) for column in columns)
        names = told[0].keys()
        found = {name: np.concatenate([part[name] for part in told]) for name in names}
        return Scored(user.astype(str), request.astype(str), *rest, found)
