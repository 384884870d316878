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
        flat = []
        for table, parts in self._parts(rows).items():
            each = tf.concat([tf.reshape(part, (-1,)) for part in parts], axis=0)
            flat.append(tf.where(each >= 0, each + self._first[table], -1))
        return {_ALL: tf.concat(flat, axis=0)[:, None]}

    def _candidates(self, rows: Rows) -> tf.Tensor:
        return tf.range(self._data.size(ITEM))[None]

    def _found(
        self, vectors: dict[str, tf.Tensor], parts: dict[str, list[tf.Tensor]]
    ) -> dict[str, list[tf.Tensor]]:
        each = [(table, part) for table, some in parts.items() for part in some]
        cut = tf.split(vectors[_ALL][:, 0], [tf.size(part) for _, part in each], axis=0, num=len(each))
        found: dict[str, list[tf.Tensor]] = {}
        for (table, part), piece in zip(each, cut, strict=True):
            shape = tf.concat([tf.shape(part), [self.d]], axis=0)
            found.setdefault(table, []).append(tf.ensure_shape(tf.reshape(piece, shape), (*part.shape, self.d)))
        return found
