"""Categorical features: what a model declares, and the few tables that hold all of their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from feature_store.checks import at_least, one_of, require
from trainer.layers.spread import MAX_ROWS, Spread, shuffled
from trainer.layers.tables import EmbeddingTable, Initializer
from trainer.step import Step

Ids = Mapping[str, tf.Tensor]
"""A batch's ids by feature, int: (B,) of a single feature, (B, L) of a bag or a sequence."""


@dataclass(frozen=True)
class Feature:
    """One categorical feature.

    An id below 0 is padding, or a value that is not known: its vector is zero and it moves no row.

    Raises:
      ValueError: a field breaks its rule.
    """

    name: str
    rows: int  # ids are below it
    width: int
    kind: str = "single"  # single: one id -> its vector | bag: ids -> one vector | sequence: ids -> a vector each
    combiner: str = ""  # of a bag: sum | mean | sqrtn (the sum over the root of the number), padding not counted

    def __post_init__(self) -> None:
        require(bool(self.name), "a feature's name", "must not be empty", self.name)
        where = f"feature {self.name!r}: "
        at_least(where + "rows", self.rows, 1)
        require(self.rows <= MAX_ROWS, where + "rows", f"must be at most {MAX_ROWS}", self.rows)
        at_least(where + "width", self.width, 1)
        one_of(where + "kind", self.kind, ("single", "bag", "sequence"))
        one_of(where + "combiner", self.combiner, ("sum", "mean", "sqrtn") if self.kind == "bag" else ("",))


class FeatureTables:
    """The vectors of many features, in one table for each width.

    Features of a width stand one after another in its table, so that a step reads each table once, by distinct ids, and
    sends its gradients back once, however many features there are:

        vectors = features.lookup(step, {"country": country, "clicks": clicks})

    With ``spread`` a feature's ids are shuffled within its part of the table (see ``Spread``). The row order of a
    table, of its slots and of its checkpoint is the order after that. It depends on the features alone, so that a
    checkpoint fits any number of servers; ``rows`` tells where an id lies.

    Args:
      features: in the order of their rows. A checkpoint fits the same features in the same order, and ``spread``.
      initializer, seed, devices: see ``EmbeddingTable``.
      name: of the tables, which are "<name>_<width>".

    Raises:
      ValueError: no feature, or two of one name.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        initializer: Initializer,
        seed: int = 0,
        devices: Sequence[str | None] = (None,),
        spread: bool = True,
        name: str = "features",
    ) -> None:
        names = [feature.name for feature in features]
        require(bool(names), "features", "must hold at least one feature", names)
        require(len(set(names)) == len(names), "features", "must have a name each", names)
        self.features = {feature.name: feature for feature in features}
        self._groups = [
            _Group([f for f in features if f.width == width], spread)
            for width in dict.fromkeys(feature.width for feature in features)
        ]
        self.tables = [
            EmbeddingTable(f"{name}_{group.width}", group.rows, group.width, initializer, seed, devices)
            for group in self._groups
        ]

    def rows(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        """Where the vectors of ids of one feature lie in its table: the same shape, int64; padding stays below 0.

        Raises:
          InvalidArgumentError: an id is not below the feature's rows.
        """
        group = next(g for g in self._groups if g.width == self.features[name].width)
        return tf.reshape(group.places({name: ids}), tf.shape(ids))

    def touched(self, ids: Ids) -> dict[EmbeddingTable, tf.Tensor]:
        """The rows that lookups of ``ids`` read of each table, with repeats: what a ``WorkingSet`` is made of.

        The ids may be those of several batches end to end.
        """
        groups = zip(self.tables, self._groups, strict=True)
        return {table: _known(group.places(_of(group, ids))) for table, group in groups}

    def lookup(self, step: Step, ids: Ids) -> dict[str, tf.Tensor]:
        """Vectors by feature: (B, width) of a single feature or a bag, (B, L, width) of a sequence.

        Raises:
          ValueError: ids of a feature are missing, or of one that is not declared, or of another rank.
          InvalidArgumentError: an id is not below its feature's rows.
        """
        _check(self.features, ids)
        vectors: dict[str, tf.Tensor] = {}
        for table, group in zip(self.tables, self._groups, strict=True):
            wanted = _of(group, ids)
            places = group.places(wanted)
            unique, rows, (known,) = step.rows(table, _known(places))
            # Padding reads a row of zeros after those that were read.
            rows = tf.concat([rows, tf.zeros((1, table.width))], axis=0)
            padding = tf.fill(tf.shape(places), tf.size(unique))
            found = tf.gather(rows, tf.tensor_scatter_nd_update(padding, tf.where(places >= 0), known))
            parts = tf.split(found, [tf.size(part) for part in wanted.values()], num=len(wanted))
            for (name, own), part in zip(wanted.items(), parts, strict=True):
                part = tf.reshape(part, tf.concat([tf.shape(own), [table.width]], axis=0))
                vectors[name] = _combine(self.features[name], part, own)
        return vectors


def row_map(
    before: Sequence[Feature], now: Sequence[Feature], ids: Mapping[str, np.ndarray], spread: bool = True
) -> list[np.ndarray]:
    """For each table of ``FeatureTables(now)`` where its rows were in that of the same width of ``before``.

    Args:
      ids: by feature, for each of its ids now the id before, below 0 where there was none; a feature that is not
        named has kept its ids. spread: as of both tables.

    Returns:
      For each table (rows,) int64, -1 where a row is new.
    """
    maps = []
    for width in dict.fromkeys(feature.width for feature in now):
        group = _Group([f for f in now if f.width == width], spread)
        olds = {f.name: f for f in before if f.width == width}
        old = _Group(list(olds.values()), spread) if olds else None
        found = np.full(group.rows, -1, np.int64)
        for feature in now:
            if feature.width == width and feature.name in olds:
                own = np.arange(feature.rows)
                was = ids.get(feature.name, np.where(own < olds[feature.name].rows, own, -1))
                here = group.places({feature.name: tf.constant(own[was >= 0], tf.int64)}).numpy()
                found[here] = old.places({feature.name: tf.constant(was[was >= 0], tf.int64)}).numpy()
        maps.append(found)
    return maps


class _Group:
    """Features of one width, and where each begins in their table."""

    def __init__(self, features: Sequence[Feature], spread: bool) -> None:
        self.width = features[0].width
        self.names = [feature.name for feature in features]
        counts = np.array([feature.rows for feature in features], np.int64)
        self.rows = int(counts.sum())
        spreads = [Spread.of(f.rows) if spread else Spread(1, 1) for f in features]
        self._layout = np.stack([counts, np.cumsum(counts) - counts, *np.array(spreads, np.int64).T], axis=1)

    def places(self, ids: Ids) -> tf.Tensor:
        """Rows (n,) of the table, for all ids of some of the features end to end; negative ones stay so."""
        flat = tf.concat([tf.reshape(tf.cast(own, tf.int64), (-1,)) for own in ids.values()], axis=0)
        features = tf.repeat([self.names.index(name) for name in ids], [tf.size(own) for own in ids.values()])
        count, first, prime, factor = tf.unstack(tf.gather(tf.constant(self._layout), features), axis=1)
        with tf.control_dependencies([self._assert_below(flat, count, features)]):
            flat = tf.identity(flat)
        return tf.where(flat < 0, flat, shuffled(flat, prime, factor) + first)

    def _assert_below(self, flat: tf.Tensor, count: tf.Tensor, features: tf.Tensor) -> tf.Operation | None:
        """Else an id would read another feature's row."""
        above = tf.where(flat >= count)[:1, 0]
        told = [tf.gather(tf.constant(self.names), tf.gather(features, above)), "ids must be below"]
        told += [tf.gather(count, above), "received", tf.gather(flat, above)]
        return tf.debugging.Assert(tf.size(above) == 0, ["feature", *told])


def _of(group: _Group, ids: Ids) -> dict[str, tf.Tensor]:
    return {name: ids[name] for name in group.names}


def _known(flat: tf.Tensor) -> tf.Tensor:
    return tf.boolean_mask(flat, flat >= 0)


def _combine(feature: Feature, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Vectors of ids (B, …, width), zero at padding -> the feature's."""
    if feature.kind != "bag":
        return vectors
    total = tf.reduce_sum(vectors, axis=1)
    if feature.combiner == "sum":
        return total
    count = tf.reduce_sum(tf.cast(ids >= 0, tf.float32), axis=1, keepdims=True)
    count = tf.maximum(count, 1.0)
    return total / (tf.sqrt(count) if feature.combiner == "sqrtn" else count)


def _check(features: Mapping[str, Feature], ids: Ids) -> None:
    require(features.keys() == ids.keys(), "ids", f"must be of the features {sorted(features)}", sorted(ids))
    for name, feature in features.items():
        rank = 1 if feature.kind == "single" else 2
        shape = ids[name].shape
        require(shape.rank == rank, f"feature {name!r}: ids of kind {feature.kind!r}", f"must have rank {rank}", shape)
