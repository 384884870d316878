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
    asked for at once, so that a step reads each table once, and of an item's columns once however often it occurs.

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
        """What ``FeatureTables.lookup`` is asked for: (M, 1) ids a table, part after part, -1 where there is none."""
        return {table: _flat(parts)[:, None] for table, parts in self._parts(rows).items()}

    def embedded(self, vectors: dict[str, tf.Tensor], rows: Rows) -> Embedded:
        """What came of ``ids`` -> the parts of the requests."""
        found = {table: iter(pieces) for table, pieces in self._found(vectors, self._parts(rows)).items()}
        items = self._items(found, rows)
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
                single[name] = part
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
        return {table: self._cut(vectors[table], wanted) for table, wanted in parts.items()}

    def _cut(self, vectors: tf.Tensor, parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Vectors (M, 1, d) of the ids of parts, end to end -> those of each, (…, d)."""
        cut = tf.split(vectors[:, 0], [tf.size(part) for part in parts], num=len(parts))
        return [_shaped(piece, part, (self.d,)) for piece, part in zip(cut, parts, strict=True)]

    def _parts(self, rows: Rows) -> dict[str, list[tf.Tensor]]:
        """By table the ids (…) to look up, in the order in which ``embedded`` takes them back."""
        parts: dict[str, list[tf.Tensor]] = {table: [] for table in self._tables}
        items, _ = tf.unique(_flat(self._occurring(rows)))
        parts[ITEM].append(items)
        for column in self.columns:
            if column.categorical:
                parts[_table(column)].append(self._column(column, items))
        for feature in self.read:
            if feature.categorical and feature not in self._of_items:
                parts[_table(feature)].append(rows.features[feature.name])
        return {table: ids for table, ids in parts.items() if ids}

    def _occurring(self, rows: Rows) -> list[tf.Tensor]:
        """The ids of items, of ``Embedded.candidates`` and of ``Embedded.items``."""
        return [self._candidates(rows), *(rows.features[f.name] for f in self._of_items)]

    def _items(self, found: dict, rows: Rows) -> list[tf.Tensor]:
        """What is told of the items that occur, (n, ·, w) each. It is made once of each distinct one."""
        occurring = self._occurring(rows)
        items, places = tf.unique(_flat(occurring))
        pieces = [next(found[ITEM])]
        for column in self.columns:
            held = self._column(column, items)
            if not column.categorical:
                pieces.append(held if column.kind == "vector" else held[:, None])
            else:
                vectors = next(found[_table(column)])
                pieces.append(vectors if column.kind == "single" else _mean(vectors, held >= 0))
        told = tf.concat(pieces, axis=1)  # (u, w)
        cut = tf.split(places, [tf.size(each) for each in occurring], num=len(occurring))
        return [tf.gather(told, _shaped(part, each)) for part, each in zip(cut, occurring, strict=True)]

    def _column(self, column: RequestFeature, items: tf.Tensor) -> tf.Tensor:
        """A column's values for items (u,): ids -1, numbers 0 where the item is none."""
        values = tf.gather(tf.constant(self._columns[column.name]), tf.maximum(items, 0))
        known = tf.reshape(items >= 0, (-1, *[1] * (values.shape.rank - 1)))
        return tf.where(known, values, tf.constant(-1 if column.categorical else 0, values.dtype))


def _flat(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(part, (-1,)) for part in parts], axis=0)


def _shaped(flat: tf.Tensor, like: tf.Tensor, more: tuple[int, ...] = ()) -> tf.Tensor:
    """flat (size of like, *more) -> (*shape of like, *more), with all that is known of its shape."""
    found = tf.reshape(flat, tf.concat([tf.shape(like), tf.constant(more, tf.int32)], axis=0))
    return tf.ensure_shape(found, (*like.shape, *more))


def _table(feature: RequestFeature) -> str:
    return feature.vocabulary or feature.name


def _mean(vectors: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """Vectors (…, L, d), zero where nothing is there (…, L) -> (…, d)."""
    count = tf.reduce_sum(tf.cast(there, vectors.dtype), axis=-1, keepdims=True)
    return tf.reduce_sum(vectors, axis=-2) / tf.maximum(count, 1.0)
