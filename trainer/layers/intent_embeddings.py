"""The vectors of what requests hold where they have many features, and candidates of one small base."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from feature_store.request_schema import ITEM
from trainer.layers.features import Feature
from trainer.layers.request_embeddings import RequestEmbeddings
from trainer.requests.input import Requests, Rows

_ALL = "ids"


class IntentEmbeddings(RequestEmbeddings):
    """As `RequestEmbeddings`, with two differences.

    ``Embedded.candidates`` are all N items of the base, (1, N, w), whatever the candidates of the requests: their
    vectors are then made once for all requests.

    All vocabularies stand one after another in one feature, and a step looks everything up in one question: with some
    seventy features, a graph of a question each takes minutes to trace.
    """

    def __init__(self, data: Requests, d: int, names: Sequence[str]) -> None:
        super().__init__(data, d, names)
        self._first: dict[str, int] = {}
        total = 0
        for feature in self.features:
            self._first[feature.name] = total
            total += feature.rows
        self.features = [Feature(_ALL, total, d, "sequence")]

    def ids(self, rows: Rows) -> dict[str, tf.Tensor]:
        """What ``FeatureTables.lookup`` is asked for: (M, 1) ids, part after part."""
        every = [tf.where(ids >= 0, ids + self._first[table], -1) for table, ids in super().ids(rows).items()]
        return {_ALL: tf.concat(every, axis=0)}

    def _candidates(self, rows: Rows) -> tf.Tensor:
        return tf.range(self._data.size(ITEM))[None]

    def _found(
        self, vectors: dict[str, tf.Tensor], parts: dict[str, list[tf.Tensor]]
    ) -> dict[str, list[tf.Tensor]]:
        cut = iter(self._cut(vectors[_ALL], [part for wanted in parts.values() for part in wanted]))
        return {table: [next(cut) for _ in wanted] for table, wanted in parts.items()}
