"""One training step: what a forward pass read from the parameters, and the way its gradients go back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, Split
from trainer.optimizers import Optimizer
from trainer.read_ahead import Ahead, rows_of
from trainer.wire import narrowed, to_worker, widened
from trainer.working_set import LocalTable, LocalWeights, WorkingSet


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
      dense: weights this step will read. On a cluster the small ones then travel in one tensor with the rows of
        the first table that is asked for rows, and so do their gradients: fewer calls.
      working: copies to read and update in place of the parameters themselves.
      wire: the type in which rows, weights and gradients travel between worker and servers.
      ahead: the rows this step will ask for, where they were read before.
      client: through which a loss asks the language model's side process.

    Attributes:
      told: by name the sum and the number of what a loss told of this step.
    """

    def __init__(
        self,
        index: tf.Tensor,
        dense: FlatWeights | None = None,
        working: WorkingSet | None = None,
        wire: tf.DType = tf.float32,
        ahead: Ahead | None = None,
        client: tf.Tensor | None = None,
    ) -> None:
        self.index, self.client = index, client
        self.told: dict[str, tf.Tensor] = {}
        self._working, self._wire, self._ahead = working, wire, ahead
        self._dense = dense if working is None and ahead is None else None
        self._parcel: _Parcel | None = None
        self._tape = tf.GradientTape(watch_accessed_variables=False)
        self._sparse: list[tuple[EmbeddingTable | LocalTable, Split, tf.Tensor]] = []
        self._whole: list[tuple[EmbeddingTable | LocalTable, list[tf.Tensor]]] = []
        self._flat: list[tuple[FlatWeights | LocalWeights, list[tf.Tensor]]] = []

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
        table = self._table(table)
        flat = tf.concat([tf.reshape(i, (-1,)) for i in ids], axis=0)
        unique, places = self.distinct(flat)
        split = table.split(unique)
        if self._parcel is None and self._dense is not None and table.trainable:
            self._parcel = _Parcel.between(table, self._dense, self._wire)
        if self._ahead is not None:
            rows = rows_of(self._ahead, table, unique)
        elif self._parcel is not None and self._parcel.table is table:
            rows = self._parcel.read(split)
        else:
            rows = table.gather(split, wire=self._wire)
        if table.trainable:
            self._tape.watch(rows)
            self._sparse.append((table, split, rows))
        parts = tf.split(places, [tf.size(i) for i in ids], num=len(ids))
        return unique, rows, [tf.reshape(p, tf.shape(i)) for p, i in zip(parts, ids, strict=True)]

    def distinct(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """ids (n,) -> the rows to read (u,), and for each id its place among them (n,)."""
        return tf.unique(ids)

    def whole(self, table: EmbeddingTable) -> tf.Tensor:
        """Reads the whole table: (rows, width)."""
        table = self._table(table)
        parts = [to_worker(s, d, self._wire) for s, d in zip(table.shards, table.devices, strict=True)]
        if table.trainable:
            for part in parts:
                self._tape.watch(part)
            self._whole.append((table, parts))
        return table.join(parts)

    @contextmanager
    def weights(self, flat: FlatWeights) -> Iterator[None]:
        """Within, ``flat``'s model computes with this step's reading of its weights."""
        held = flat if self._working is None else self._working.weights(flat)
        arrived = [self._parcel.small] if self._parcel is not None and self._parcel.dense is flat else []
        left = list(zip(held.variables, held.devices, strict=True))[len(arrived) :]
        values = arrived + [to_worker(variable, device, self._wire) for variable, device in left]
        for value in values:
            self._tape.watch(value)
        self._flat.append((held, values))
        with flat.bound(values):
            yield

    def tell(self, name: str, values: tf.Tensor) -> None:
        """Values (n,) of one kind, of which a training's history gets the mean over an epoch."""
        values = tf.cast(values, tf.float32)
        self.told[name] = tf.stack([tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32)])

    def update(self, loss: tf.Tensor, optimizer: Optimizer) -> None:
        """Takes the gradients of ``loss`` and applies them, each on the server that owns the parameter."""
        sources = [rows for _, _, rows in self._sparse]
        sources += [part for _, parts in self._whole for part in parts]
        sources += [value for _, values in self._flat for value in values]
        devices = [table.devices[0] for table, _, _ in self._sparse]
        devices += [device for table, _ in self._whole for device in table.devices]
        devices += [device for flat, _ in self._flat for device in flat.devices]
        gradients = self._tape.gradient(loss, sources, unconnected_gradients="zero")
        if optimizer.clip:
            gradients, _ = tf.clip_by_global_norm([tf.convert_to_tensor(g) for g in gradients], optimizer.clip)
        ends = zip(gradients, devices, strict=True)
        gradients = iter([narrowed(tf.convert_to_tensor(g), device, self._wire) for g, device in ends])
        sparse = [(table, self._cut(table, split, next(gradients)), split) for table, split, _ in self._sparse]
        for table, _ in self._whole:
            for k, device in enumerate(table.devices):
                gradient = widened(next(gradients), device)
                optimizer.dense(table.shards[k], _at(table.slots, k), gradient, self.index)
        for flat, _ in self._flat:
            dense = [next(gradients) for _ in flat.variables]
            if self._parcel is not None and self._parcel.dense is flat:
                parts = next(parts for table, parts, _ in sparse if table is self._parcel.table)
                dense[0], parts[self._parcel.shard] = self._parcel.send(dense[0], parts[self._parcel.shard])
            for k, variable in enumerate(flat.variables):
                gradient = widened(dense[k], flat.devices[k])
                optimizer.dense(variable, _at(flat.slots, k), gradient, self.index)
        for table, parts, split in sparse:
            for k, shard in enumerate(table.shards):
                gradient = widened(parts[k], table.devices[k])
                optimizer.rows(shard, _at(table.slots, k), split.local[k], gradient, self.index)

    def _table(self, table: EmbeddingTable) -> EmbeddingTable | LocalTable:
        return table if self._working is None else self._working.table(table)

    @staticmethod
    def _cut(table: EmbeddingTable | LocalTable, split: Split, gradient: tf.Tensor) -> list[tf.Tensor]:
        """The gradient of the rows (u, width), by shard."""
        if len(table.shards) == 1:
            return [gradient]
        return [tf.gather(gradient, places) for places in split.places]


class _Parcel:
    """A table's rows and the small dense weights of the same server, sent as one tensor there and back."""

    def __init__(self, table: EmbeddingTable, shard: int, dense: FlatWeights, wire: tf.DType) -> None:
        self.table, self.shard, self.dense, self._wire = table, shard, dense, wire
        self._device = table.devices[shard]
        self._size = dense.variables[0].shape[0]
        self.small: tf.Tensor | None = None

    @classmethod
    def between(cls, table: EmbeddingTable, dense: FlatWeights, wire: tf.DType) -> _Parcel | None:
        """None where they are in this process, on different servers, or there are no small weights."""
        device = dense.devices[0]
        if device is None or device not in table.devices or dense.variables[0].shape.rank != 1:
            return None
        return cls(table, table.devices.index(device), dense, wire)

    def read(self, split: Split) -> tf.Tensor:
        """Rows (u, width) of the ids that were split; keeps the dense weights in ``small``."""
        with tf.device(self._device):
            rows = tf.gather(self.table.shards[self.shard], split.local[self.shard])
            parcel = tf.concat([self.dense.variables[0], tf.reshape(rows, (-1,))], axis=0)
        self.small, rows = self._open(to_worker(parcel, self._device, self._wire))
        return self.table.gather(split, {self.shard: rows}, wire=self._wire)

    def send(self, dense: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The two gradients, on the server."""
        parcel = tf.concat([dense, tf.reshape(rows, (-1,))], axis=0)
        with tf.device(self._device):
            return self._open(widened(parcel, self._device))

    def _open(self, parcel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return parcel[: self._size], tf.reshape(parcel[self._size :], (-1, self.table.width))


def _at(slots: dict[str, list[tf.Variable]], k: int) -> dict[str, tf.Variable]:
    return {name: variables[k] for name, variables in slots.items()}
