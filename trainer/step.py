"""One training step: what a forward pass read from the parameters, and the way its gradients go back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, Split
from trainer.optimizers import Optimizer


class Step:
    """The reads of one forward pass.

    Every parameter is read at most once a step: a table by the unique ids it is asked for or as a whole,
    dense weights as they are grouped. Gradients are taken with respect to what was read and go back
    to just that.

        with Step(index) as step:
            unique, rows, (hist, target) = step.rows(table, hist_ids, target_ids)
            with step.weights(flat):
                loss = ...
        step.update(loss, optimizer)

    Args:
      index: number of this step, from 1 (int64 scalar).
    """

    def __init__(self, index: tf.Tensor) -> None:
        self.index = index
        self._tape = tf.GradientTape(watch_accessed_variables=False)
        self._sparse: list[tuple[EmbeddingTable, Split, tf.Tensor]] = []
        self._whole: list[tuple[EmbeddingTable, list[tf.Tensor]]] = []
        self._flat: list[tuple[FlatWeights, list[tf.Tensor]]] = []

    def __enter__(self) -> Step:
        self._tape.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._tape.__exit__(*error)

    def rows(self, table: EmbeddingTable, *ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Reads the rows of all ``ids`` (any shapes) at once.

        Returns:
          the u distinct ids (u,), their rows (u, width), and for each tensor of ids its places among them,
          same shape.
        """
        flat = tf.concat([tf.reshape(i, (-1,)) for i in ids], axis=0)
        unique, places = tf.unique(flat)
        split = table.split(unique)
        rows = table.gather(split)
        if table.trainable:
            self._tape.watch(rows)
            self._sparse.append((table, split, rows))
        parts = tf.split(places, [tf.size(i) for i in ids], num=len(ids))
        return unique, rows, [tf.reshape(p, tf.shape(i)) for p, i in zip(parts, ids, strict=True)]

    def whole(self, table: EmbeddingTable) -> tf.Tensor:
        """Reads the whole table: (rows, width)."""
        parts = [tf.identity(s) for s in table.shards]
        if table.trainable:
            for part in parts:
                self._tape.watch(part)
            self._whole.append((table, parts))
        return table.join(parts)

    @contextmanager
    def weights(self, flat: FlatWeights) -> Iterator[None]:
        """Within, ``flat``'s model computes with this step's reading of its weights."""
        values = [tf.identity(v) for v in flat.variables]
        for value in values:
            self._tape.watch(value)
        self._flat.append((flat, values))
        with flat.bound(values):
            yield

    def update(self, loss: tf.Tensor, optimizer: Optimizer) -> None:
        """Takes the gradients of ``loss`` and applies them, each on the server that owns the parameter."""
        sources = [rows for _, _, rows in self._sparse]
        sources += [part for _, parts in self._whole for part in parts]
        sources += [value for _, values in self._flat for value in values]
        gradients = self._tape.gradient(loss, sources, unconnected_gradients="zero")
        gradients = iter([tf.convert_to_tensor(g) for g in gradients])
        for table, split, _ in self._sparse:
            self._update_rows(table, split, next(gradients), optimizer)
        for table, parts in self._whole:
            for k in range(len(parts)):
                slots = {name: shards[k] for name, shards in table.slots.items()}
                optimizer.dense(table.shards[k], slots, next(gradients), self.index)
        for flat, _ in self._flat:
            for k, variable in enumerate(flat.variables):
                slots = {name: variables[k] for name, variables in flat.slots.items()}
                optimizer.dense(variable, slots, next(gradients), self.index)

    def _update_rows(
        self, table: EmbeddingTable, split: Split, gradient: tf.Tensor, optimizer: Optimizer
    ) -> None:
        for k, shard in enumerate(table.shards):
            part = gradient if len(table.shards) == 1 else tf.gather(gradient, split.places[k])
            slots = {name: shards[k] for name, shards in table.slots.items()}
            optimizer.rows(shard, slots, split.local[k], part, self.index)
