"""Embedding tables whose rows are spread over parameter servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer import wire as wires

Initializer = Callable[[int, int, tuple[int, int]], tf.Tensor]
"""(seed, first row, (rows, width)) -> the initial values of those rows."""

BLOCK_ROWS = 65536
"""Rows are drawn in blocks of this many, so that no server ever builds more than its shard and one block."""


def normal(stddev: float) -> Initializer:
    """Truncated normal values with mean 0; a row's values depend on the seed and its own block alone."""

    def draw(seed: int, first: int, shape: tuple[int, int]) -> tf.Tensor:
        return tf.random.stateless_truncated_normal(shape, seed=(seed, first), stddev=stddev)

    return draw


def uniform(limit: float) -> Initializer:
    """Values uniform in [-limit, limit)."""

    def draw(seed: int, first: int, shape: tuple[int, int]) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed=(seed, first), minval=-limit, maxval=limit)

    return draw


def zeros() -> Initializer:
    """All zeros."""
    return lambda seed, first, shape: tf.zeros(shape)


class Split(NamedTuple):
    """Ids cut by shard."""

    local: list[tf.Tensor]  # for each shard, row numbers within it
    places: list[tf.Tensor]  # for each shard, where its ids stood


class EmbeddingTable:
    """A (rows, width) float32 matrix cut into one variable per parameter server.

    Row i is row i // n of shard i % n, so neighbouring ids (in most logs the popular ones) fall on different
    servers. Initial values depend on the seed and the row, not on the number of shards.

    Args:
      name: unique among a model's tables; names the table's files in a checkpoint.
      rows, width: shape of the logical matrix.
      initializer: see ``normal``, ``uniform``, ``zeros``.
      seed: of the initial values.
      devices: one device a shard; ``(None,)`` keeps the whole table where the caller runs.
      trainable: a frozen table takes no gradient and has no optimizer slots.
    """

    def __init__(
        self,
        name: str,
        rows: int,
        width: int,
        initializer: Initializer,
        seed: int = 0,
        devices: Sequence[str | None] = (None,),
        trainable: bool = True,
    ) -> None:
        if rows < len(devices):
            shards = f"the number of shards ({len(devices)})"
            raise ValueError(f"table {name!r}: rows must be at least {shards}, got {rows}")
        if width < 1:
            raise ValueError(f"table {name!r}: width must be positive, got {width}")
        self.name, self.rows, self.width, self.trainable = name, rows, width, trainable
        self.devices = tuple(devices)
        self.shards = self._allocate(name)
        self.slots: dict[str, list[tf.Variable]] = {}
        for first in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - first)
            for k, (device, shard) in enumerate(zip(self.devices, self.shards, strict=True)):
                offset = (k - first) % len(self.shards)
                with tf.device(device):
                    values = initializer(seed, first, (count, width))[offset :: len(self.shards)]
                    _write(shard, (first + offset) // len(self.shards), values)

    def _allocate(self, name: str) -> list[tf.Variable]:
        n, shards = len(self.devices), []
        for k, device in enumerate(self.devices):
            with tf.device(device):
                shape = ((self.rows - k + n - 1) // n, self.width)
                shards.append(tf.Variable(tf.zeros(shape), trainable=False, name=f"{name}_{k}"))
        return shards

    def add_slot(self, name: str, initial: float, width: int | None = None) -> None:
        """Gives the optimizer a variable of as many rows beside every shard; ``width`` is the table's unless given."""
        if name in self.slots:
            raise ValueError(f"table {self.name!r} already has a slot {name!r}")
        self.slots[name] = []
        for k, (device, shard) in enumerate(zip(self.devices, self.shards, strict=True)):
            with tf.device(device):
                value = tf.fill((shard.shape[0], width or self.width), tf.constant(initial, tf.float32))
                self.slots[name].append(tf.Variable(value, trainable=False, name=f"{self.name}_{name}_{k}"))

    def split(self, ids: tf.Tensor) -> Split:
        """Cuts ids (u,) by the shard that holds them."""
        n = len(self.shards)
        if n == 1:
            return Split([ids], [tf.range(tf.size(ids))])
        owner = tf.cast(ids % n, tf.int32)
        return Split(
            tf.dynamic_partition(ids // n, owner, n),
            tf.dynamic_partition(tf.range(tf.size(ids)), owner, n),
        )

    def gather(
        self,
        split: Split,
        known: Mapping[int, tf.Tensor] = MappingProxyType({}),
        slot: str = "",
        wire: tf.DType = tf.float32,
    ) -> tf.Tensor:
        """Rows (u, width) of the ids that were split, of the table or of a slot: one gather a shard, run there.

        ``known`` holds what was already read, by shard; ``wire`` is the type in which the others travel.
        """
        rows = []
        for k, shard in enumerate(self.slots[slot] if slot else self.shards):
            if k in known:
                rows.append(known[k])
            else:
                rows.append(wires.to_worker(tf.gather(shard, split.local[k]), self.devices[k], wire))
        return rows[0] if len(rows) == 1 else tf.dynamic_stitch(split.places, rows)

    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows (u, width) of ids (u,)."""
        return self.gather(self.split(ids))

    def join(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """Shards' values, of the table or of a slot -> the logical matrix (rows, width)."""
        if len(parts) == 1:
            return parts[0]
        longest = parts[0].shape[0]
        padded = [tf.pad(p, ((0, longest - p.shape[0]), (0, 0))) for p in parts]
        return tf.reshape(tf.stack(padded, axis=1), (-1, parts[0].shape[1]))[: self.rows]

    def whole(self, slot: str = "", wire: tf.DType = tf.float32) -> tf.Tensor:
        """The logical matrix (rows, width), of the table or of a slot; ``wire`` is the type in which it travels."""
        shards = self.slots[slot] if slot else self.shards
        return self.join([wires.to_worker(s, d, wire) for s, d in zip(shards, self.devices, strict=True)])

    def assign(self, matrix: np.ndarray) -> None:
        """Sets every row from ``matrix`` (rows, width)."""
        if matrix.shape != (self.rows, self.width):
            raise ValueError(f"table {self.name!r}: expected {(self.rows, self.width)}, got {matrix.shape}")
        self.load(self.shards, lambda start, stop: matrix[start:stop])

    def load(self, variables: list[tf.Variable], read: Callable[[int, int], np.ndarray]) -> None:
        """Fills ``variables`` (the shards, or a slot's) from ``read(start, stop)``, in blocks of rows."""
        for first in range(0, self.rows, BLOCK_ROWS):
            self._fill(variables, first, read(first, min(first + BLOCK_ROWS, self.rows)))

    def revise(self, variables: list[tf.Variable], change: Callable[[int, np.ndarray], np.ndarray]) -> None:
        """Puts ``change(first row, values)`` in the place of the values of ``variables``, a block of rows at a time."""
        for first, block in self.blocks(variables):
            self._fill(variables, first, change(first, block))

    def _fill(self, variables: list[tf.Variable], first: int, values: np.ndarray) -> None:
        """One block of logical rows from ``first`` on."""
        n, block = len(variables), np.asarray(values, np.float32)
        for k, variable in enumerate(variables):
            offset = (k - first) % n
            with tf.device(self.devices[k]):
                _write(variable, (first + offset) // n, tf.constant(block[offset::n]))

    def blocks(self, variables: list[tf.Variable]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (first row, values) in logical order, one block in memory at a time."""
        n = len(variables)
        for first in range(0, self.rows, BLOCK_ROWS):
            stop = min(first + BLOCK_ROWS, self.rows)
            block = np.empty((stop - first, variables[0].shape[1]), np.float32)
            for k, variable in enumerate(variables):
                offset = (k - first) % n
                start = (first + offset) // n
                count = len(range(offset, stop - first, n))
                with tf.device(self.devices[k]):  # a slice of it would first copy the whole shard
                    rows = tf.gather(variable, tf.range(start, start + count))
                block[offset::n] = rows.numpy()
            yield first, block


def _write(variable: tf.Variable, start: int, values: tf.Tensor) -> None:
    stop = start + values.shape[0]
    if start == 0 and stop == variable.shape[0]:
        variable.assign(values)
    else:
        rows = tf.range(start, stop)
        tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=values)
