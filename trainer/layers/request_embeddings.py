"""The vectors of everything a request holds: of its own features, its candidates and the items of its sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from feature_store.request_schema import ITEM, RequestFeature
from trainer.layers.features import Feature
from trainer.requests.input import Requests, Rows


class Embedded(NamedTuple):
    """Of n requests. An item is told of by w numbers: its id's vector, its columns' and its own numbers."""

    candidates: tf.Tensor  # (n, C, w)
    items: dict[str, tf.Tensor]  # of sequences of items: (n, L, w)
    there: dict[str, tf.Tensor]  # of every bag and sequence: (n, L) bool
    single: dict[str, tf.Tensor]  # of single features (n, d), of single numbers (n, 1), of bags their mean (n, d)
    sequences: dict[str, tf.Tensor]  # of other sequences (n, L, d), of sequences of numbers (n, L, 1)
    vectors: dict[str, tf.Tensor]  # (n, length)


class RequestEmbeddings:
    """Which ids of a batch are looked up, and what is made of their vectors.

    Features that share a vocabulary share its vectors; hashed ones have their own. Everything of one vocabulary is
    asked for at once, so that a step reads each table once.

    Args:
      data: declares features and items. d: width of a vector. names: the features of requests that are read; candidates
        and their columns are in any case.
    """

    def __init__(self, data: Requests, d: int, names: Sequence[str]) -> None:
        self._data, self.d, self._columns = data, d, data.item_columns
        self.read = [data.features[name] for name in names]
        self.columns = [f for f in data.features.values() if f.side == "candidate"]
        sizes = {ITEM: data.size(ITEM)}
        for feature in (*self.columns, *self.read):
            if feature.categorical:
                sizes[_table(feature)] = data.size(feature.name)
        self._tables = list(sizes)
        self.features = [Feature(name, max(size, 1), d, "sequence") for name, size in sizes.items()]
        self._of_items = [f for f in self.read if f.kind == "sequence" and f.vocabulary == ITEM]

    @property
    def width(self) -> int:
        """w, of an item."""
        return self.d + sum(self.width_of(column.name) for column in self.columns)

    @property
    def of_items(self) -> list[str]:
        """The sequences of items that are read."""
        return [feature.name for feature in self._of_items]

    def width_of(self, name: str) -> int:
        """Of a feature in ``Embedded.single`` or ``Embedded.vectors``, or of each place of a sequence."""
        feature = self._data.features[name]
        if feature.categorical:
            return self.d
        return feature.length if feature.kind == "vector" else 1

    def ids(self, rows: Rows) -> dict[str, tf.Tensor]:
        """What ``FeatureTables.lookup`` is asked for: (n, ·) ids a table, -1 where there is none."""
        return {table: tf.concat(parts, axis=1) for table, parts in self._parts(rows).items()}

    def embedded(self, vectors: dict[str, tf.Tensor], rows: Rows) -> Embedded:
        """What came of ``ids`` -> the parts of the requests."""
        parts = self._parts(rows)
        found = {table: iter(pieces) for table, pieces in self._found(vectors, parts).items()}
        items = self._items(found, [self._candidates(rows), *(rows.features[f.name] for f in self._of_items)], parts)
        of_items = dict(zip([f.name for f in self._of_items], items[1:], strict=True))
        there, single, sequences, plain = {}, {}, {}, {}
        for feature in self.read:
            values, name = rows.features[feature.name], feature.name
            if feature.kind in ("bag", "sequence"):
                there[name] = values >= 0 if feature.categorical else tf.ones_like(values, tf.bool)
            if name in of_items:
                continue
            if not feature.categorical:
                where = {"single": single, "sequence": sequences, "vector": plain}[feature.kind]
                where[name] = values if feature.kind == "vector" else values[..., None]
                continue
            part = next(found[_table(feature)])
            if feature.kind == "single":
                single[name] = part[:, 0]
            elif feature.kind == "bag":
                single[name] = _mean(part, there[name])
            else:
                sequences[name] = part
        return Embedded(items[0], of_items, there, single, sequences, plain)

    def _candidates(self, rows: Rows) -> tf.Tensor:
        """Ids of the items of ``Embedded.candidates``."""
        return rows.candidates

    def _found(
        self, vectors: dict[str, tf.Tensor], parts: dict[str, list[tf.Tensor]]
    ) -> dict[str, list[tf.Tensor]]:
        """What came of ``ids``, part by part."""
        widths = {table: [tf.shape(part)[1] for part in wanted] for table, wanted in parts.items()}
        return {table: tf.split(vectors[table], sizes, axis=1, num=len(sizes)) for table, sizes in widths.items()}

    def _parts(self, rows: Rows) -> dict[str, list[tf.Tensor]]:
        """By table the ids (n, ·) to look up, in the order in which ``embedded`` takes them back."""
        parts: dict[str, list[tf.Tensor]] = {table: [] for table in self._tables}
        for items in (self._candidates(rows), *(rows.features[f.name] for f in self._of_items)):
            parts[ITEM].append(items)
            for column in self.columns:
                if column.categorical:
                    held = self._column(column, items)
                    parts[_table(column)].append(tf.reshape(held, (tf.shape(held)[0], -1)))
        for feature in self.read:
            if feature.categorical and feature not in self._of_items:
                values = rows.features[feature.name]
                parts[_table(feature)].append(values[:, None] if feature.kind == "single" else values)
        return {table: ids for table, ids in parts.items() if ids}

    def _items(self, found: dict, each: Sequence[tf.Tensor], parts: dict) -> list[tf.Tensor]:
        """Items (n, ·) each -> what is told of them (n, ·, w)."""
        told = []
        for items in each:
            pieces = [next(found[ITEM])]
            for column in self.columns:
                held = self._column(column, items)
                if not column.categorical:
                    pieces.append(held if column.kind == "vector" else held[..., None])
                elif column.kind == "single":
                    pieces.append(next(found[_table(column)]))
                else:
                    flat = next(found[_table(column)])
                    shape = tf.concat([tf.shape(held), [self.d]], axis=0)
                    pieces.append(_mean(tf.reshape(flat, shape), held >= 0))
            told.append(tf.concat(pieces, axis=-1))
        return told

    def _column(self, column: RequestFeature, items: tf.Tensor) -> tf.Tensor:
        """A column's values for items (n, ·): ids -1, numbers 0 where the item is none."""
        values = tf.gather(tf.constant(self._columns[column.name]), tf.maximum(items, 0))
        known = tf.reshape(items >= 0, tf.concat([tf.shape(items), [1] * (values.shape.rank - 2)], axis=0))
        return tf.where(known, values, tf.constant(-1 if column.categorical else 0, values.dtype))


def _table(feature: RequestFeature) -> str:
    return feature.vocabulary or feature.name


def _mean(vectors: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """Vectors (…, L, d), zero where nothing is there (…, L) -> (…, d)."""
    count = tf.reduce_sum(tf.cast(there, vectors.dtype), axis=-1, keepdims=True)
    return tf.reduce_sum(vectors, axis=-2) / tf.maximum(count, 1.0)
