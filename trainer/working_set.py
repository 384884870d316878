"""A worker's own copies of the parameters that one unit of work touches: pulled before its steps, pushed after them.

Between the two nothing crosses the network. One worker alone pushes the new values, and the result is that of a single
process. Of several, each pushes how far its copies moved, so that two which held the same row both count, and sees
the others' moves when its next unit starts (Downpour SGD with n_fetch = n_push = the steps of a unit: Dean et al.,
NIPS 2012; each reads its own writes: Ho et al., NIPS 2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, Split
from trainer.optimizers import Optimizer
from trainer.wire import narrowed, to_worker, widened


class LocalVariable:
    """A float32 variable of whichever worker runs the graph, found there by its name.

    It has of tf.Variable what a step and the optimizers use. Made while a graph is traced.
    """

    device = ""  # where the graph runs

    def __init__(self, name: str, shape: Sequence[int | None], value: tf.Tensor) -> None:
        self.handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=name)
        self.shape = tf.TensorShape(shape)
        tf.raw_ops.AssignVariableOp(resource=self.handle, value=value)

    def read(self) -> tf.Tensor:
        value = tf.raw_ops.ReadVariableOp(resource=self.handle, dtype=tf.float32)
        return tf.ensure_shape(value, self.shape)

    def sparse_read(self, indices: tf.Tensor, name: str | None = None) -> tf.Tensor:
        """What tf.gather calls on a variable."""
        return tf.raw_ops.ResourceGather(resource=self.handle, indices=indices, dtype=tf.float32)

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        return self.read()


class Merge:
    """How copies go back: one worker's in place of the parameters, several workers' as moves that are added.

    Of several, moving averages among the slots move by each worker's share of its move, so that their scale
    stays; sums move by all of it. Parameters that travel rounded go back as moves in any case: the servers' own
    values are never rounded. Slots always travel as float32: an accumulator's small increments would be lost.
    """

    def __init__(self, workers: int, optimizer: Optimizer, wire: tf.DType) -> None:
        self._workers, self._averages, self._wire = workers, optimizer.averages, wire

    def wire(self, slot: str) -> tf.DType:
        """The type in which a slot travels; "" is the parameter."""
        return tf.float32 if slot else self._wire

    def message(self, slot: str, copy: tf.Tensor, pulled: tf.Tensor) -> tf.Tensor:
        """What to send of a copy that was ``pulled`` when the unit began."""
        if self._replaces(slot):
            return copy
        return (copy - pulled) / self._workers if slot in self._averages else copy - pulled

    def apply(
        self, slot: str, variable: tf.Variable, device: str | None, ids: tf.Tensor | None, message: tf.Tensor
    ) -> None:
        """On the server: to some rows, or with None to the whole variable."""
        message = widened(narrowed(message, device, self.wire(slot)), device)
        with tf.device(device):
            if ids is None:
                put = tf.raw_ops.AssignVariableOp if self._replaces(slot) else tf.raw_ops.AssignAddVariableOp
                put(resource=variable.handle, value=message)
            else:
                put = tf.raw_ops.ResourceScatterUpdate if self._replaces(slot) else tf.raw_ops.ResourceScatterAdd
                put(resource=variable.handle, indices=ids, updates=message)

    def _replaces(self, slot: str) -> bool:
        return self._workers == 1 and self.wire(slot) == tf.float32


class LocalTable:
    """What a unit of work touches of a table: some rows of it, or all.

    To a step it is a table in one shard; ids stay those of the whole table.

    Args:
      ids: (n,) that will be asked for, repeats allowed; None for the whole table.
      slots: names of the optimizer's.
      merge: how they go back.
    """

    devices = (None,)

    def __init__(self, table: EmbeddingTable, ids: tf.Tensor | None, slots: Iterable[str], merge: Merge) -> None:
        self.table, self.trainable, self.width = table, table.trainable, table.width
        self._merge = merge
        self._ids: tf.Tensor | None = None
        self._split: Split | None = None
        if ids is not None:
            self._ids = tf.sort(tf.unique(ids)[0])
            self._split = table.split(self._ids)
        self._pulled: dict[str, tf.Tensor] = {}
        self.shards = [self._pull("")]
        self.slots = {name: [self._pull(name)] for name in slots if table.trainable}

    def split(self, ids: tf.Tensor) -> Split:
        """See ``EmbeddingTable.split``."""
        local = ids if self._ids is None else tf.searchsorted(self._ids, ids)
        return Split([local], [tf.range(tf.size(ids))])

    def gather(self, split: Split, wire: tf.DType = tf.float32) -> tf.Tensor:
        """See ``EmbeddingTable.gather``; nothing travels."""
        return tf.gather(self.shards[0], split.local[0])

    def join(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """See ``EmbeddingTable.join``; only where the whole table is here."""
        if self._ids is not None:
            raise ValueError(f"table {self.table.name!r}: only the rows a unit asked for are here")
        return parts[0]

    def push(self) -> None:
        """Sends the rows, or all of them, to their servers."""
        if not self.trainable:
            return
        for name, (mine,) in {"": self.shards, **self.slots}.items():
            theirs = self.table.slots[name] if name else self.table.shards
            sent = self._merge.message(name, mine.read(), self._pulled[name])
            for shard, device, ids, value in zip(theirs, self.table.devices, *self._cut(sent), strict=True):
                self._merge.apply(name, shard, device, ids, value)

    def _pull(self, slot: str) -> LocalVariable:
        wire = self._merge.wire(slot)
        if self._split is None:
            value = self.table.whole(slot, wire)
        else:
            value = self.table.gather(self._split, slot=slot, wire=wire)
        self._pulled[slot] = value
        return LocalVariable(f"{self.table.name}/{slot}", (None, value.shape[1]), value)

    def _cut(self, values: tf.Tensor) -> tuple[list[tf.Tensor | None], list[tf.Tensor]]:
        """Values of the rows here -> ids within each shard (None for all) and their values."""
        n = len(self.table.shards)
        if self._split is None:
            return [None] * n, [values[k::n] for k in range(n)]
        if n == 1:
            return self._split.local, [values]
        return self._split.local, [tf.gather(values, places) for places in self._split.places]


class LocalWeights:
    """All of a model's dense weights with their slots."""

    def __init__(self, flat: FlatWeights, slots: Iterable[str], merge: Merge) -> None:
        self.flat, self._merge = flat, merge
        self.devices = (None,) * len(flat.devices)
        self._pulled: dict[str, list[tf.Tensor]] = {}
        self.variables = self._pull("", flat.variables)
        self.slots = {name: self._pull(name, flat.slots[name]) for name in slots}

    def push(self) -> None:
        """Sends the weights to their servers."""
        for name, mine in {"": self.variables, **self.slots}.items():
            theirs = self.flat.slots[name] if name else self.flat.variables
            for k, (variable, local) in enumerate(zip(theirs, mine, strict=True)):
                sent = self._merge.message(name, local.read(), self._pulled[name][k])
                self._merge.apply(name, variable, self.flat.devices[k], None, sent)

    def _pull(self, slot: str, variables: Sequence[tf.Variable]) -> list[LocalVariable]:
        wire, devices = self._merge.wire(slot), self.flat.devices
        self._pulled[slot] = [to_worker(v, d, wire) for v, d in zip(variables, devices, strict=True)]
        return [LocalVariable(f"dense_{k}/{slot}", v.shape, v) for k, v in enumerate(self._pulled[slot])]


class WorkingSet:
    """The copies of one unit of work. Made and pushed inside the function that is scheduled.

    Args:
      tables: each with the ids (n,) the unit will ask for, or None for the whole table. It is whole in any case where
        the optimizer moves every row.
      dense: the model's weights.
      optimizer: whose slots were added to them. workers: of the cluster.
      wire: the type in which parameters and their moves travel.
    """

    def __init__(
        self,
        tables: Mapping[EmbeddingTable, tf.Tensor | None],
        dense: FlatWeights,
        optimizer: Optimizer,
        workers: int,
        wire: tf.DType = tf.float32,
    ) -> None:
        if optimizer.every_row:
            tables = {table: None if table.trainable else ids for table, ids in tables.items()}
        merge = Merge(workers, optimizer, wire)
        self._tables = {table: LocalTable(table, ids, optimizer.slots, merge) for table, ids in tables.items()}
        self._dense = {dense: LocalWeights(dense, optimizer.slots, merge)}

    def table(self, table: EmbeddingTable) -> LocalTable:
        """The copy of ``table``."""
        return self._tables[table]

    def weights(self, flat: FlatWeights) -> LocalWeights:
        """The copy of ``flat``."""
        return self._dense[flat]

    def push(self) -> None:
        """Sends every copy that may have changed."""
        for part in (*self._tables.values(), *self._dense.values()):
            part.push()
