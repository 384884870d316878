"""Which records are trained on next: the coordinator's queue over the shards of one training split.

TensorFlow gives a parameter-server worker no index and no visitation guarantee, so the coordinator owns the
order of the data. It hands out units of work, each a few ranges of records that the worker reads by itself; a
unit that a lost worker did not finish is simply run again. The order is a pure function of (seed, epoch), so
a position inside an epoch is the set of units that are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shard:
    """One TFRecord file and the number of records in it."""

    file: str
    records: int

    @classmethod
    def listed(cls, folder: Path, entries: Sequence[Mapping[str, Any]]) -> list[Shard]:
        """Those of a split, as the manifest of ``folder`` has them."""
        return [cls(str((folder / entry["file"]).resolve()), entry["examples"]) for entry in entries]


@dataclass(frozen=True)
class Piece:
    """Records `first` to `first + count` of one file."""

    file: str
    first: int
    count: int


@dataclass(frozen=True)
class WorkUnit:
    """The records of one scheduled call. ``seed`` is the unit's own, for its shuffle and its dropout."""

    epoch: int
    index: int  # its place in the epoch's order
    seed: int
    pieces: tuple[Piece, ...]

    @property
    def records(self) -> int:
        return sum(piece.count for piece in self.pieces)

    def arguments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What a scheduled function takes: files (P,), first records (P,), counts (P,) and the seed (2,)."""
        files = np.array([piece.file.encode() for piece in self.pieces])
        firsts = np.array([piece.first for piece in self.pieces], np.int64)
        counts = np.array([piece.count for piece in self.pieces], np.int64)
        return files, firsts, counts, np.array([self.seed, self.index], np.int64)


class WorkQueue:
    """Hands out every record of ``shards`` exactly once an epoch, ``records_per_unit`` at a time.

    In each epoch the shards come in a new order, and each is read from a new random place to its end and then
    from its start, so that the same records do not meet in the same unit again. Within a unit the reader
    shuffles. The last unit of an epoch is shorter. Used from one thread.

    Raises:
        ValueError: no records, two shards with one file, a negative count, or ``records_per_unit`` below 1.
    """

    def __init__(self, shards: Sequence[Shard], records_per_unit: int, seed: int, epoch: int = 0):
        if records_per_unit < 1:
            raise ValueError(f"records_per_unit must be at least 1, got {records_per_unit}")
        for shard in shards:
            if shard.records < 0:
                raise ValueError(f"{shard.file}: a shard cannot hold {shard.records} records")
        files = [shard.file for shard in shards]
        if len(set(files)) < len(files):
            twice = next(file for file in files if files.count(file) > 1)
            raise ValueError(f"{twice}: listed twice among the shards")
        if not any(shard.records for shard in shards):
            raise ValueError(f"there are no records in the {len(shards)} shards: {files[:3]}")
        self._shards = tuple(sorted(shards, key=lambda shard: shard.file))
        self._records_per_unit = records_per_unit
        self._seed = seed
        self._start(epoch, set())

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def units(self) -> int:
        """Units in an epoch."""
        return len(self._order)

    @property
    def completed(self) -> int:
        """Units of this epoch that are done."""
        return len(self._done)

    @property
    def completed_records(self) -> int:
        """Records of the units that are done."""
        return sum(self._order[index].records for index in self._done)

    @property
    def finished(self) -> bool:
        """Every unit of this epoch is done."""
        return len(self._done) == len(self._order)

    def take(self) -> WorkUnit | None:
        """The next unit of this epoch, or None when all have been given out."""
        if not self._waiting:
            return None
        unit = self._waiting.pop()
        self._given[unit.index] = unit
        return unit

    def done(self, unit: WorkUnit) -> None:
        """Raises ValueError when ``unit`` was not given out, or is already done."""
        if self._given.get(unit.index) != unit:
            place = f"unit {unit.index} of epoch {unit.epoch}"
            raise ValueError(f"{place} is not being worked on (this is epoch {self._epoch})")
        del self._given[unit.index]
        self._done.add(unit.index)

    def next_epoch(self) -> None:
        """Raises RuntimeError while units of this epoch are not done."""
        if not self.finished:
            left = self.units - self.completed
            raise RuntimeError(f"epoch {self._epoch} has {left} units that are not done")
        self._start(self._epoch + 1, set())

    def state(self) -> dict:
        """The position, as JSON: restored elsewhere, the units that are not done are given out again."""
        return {**self._identity(), "epoch": self._epoch, "done": sorted(self._done)}

    def restore(self, state: dict) -> None:
        """Raises ValueError when ``state`` is of other data, another unit size or another seed."""
        for field, value in self._identity().items():
            if state.get(field) != value:
                raise ValueError(
                    f"the saved position is of other data: {field} was {state.get(field)!r}, is {value!r}"
                )
        self._start(state["epoch"], set(state["done"]))

    def _identity(self) -> dict:
        return {
            "seed": self._seed,
            "records_per_unit": self._records_per_unit,
            "shards": len(self._shards),
            "records": sum(shard.records for shard in self._shards),
        }

    def _start(self, epoch: int, done: set[int]) -> None:
        self._epoch = epoch
        self._order = self._units(epoch)
        self._done = done
        self._given: dict[int, WorkUnit] = {}
        self._waiting = [unit for unit in reversed(self._order) if unit.index not in done]

    def _units(self, epoch: int) -> list[WorkUnit]:
        random = np.random.default_rng((self._seed, epoch))
        stream: list[Piece] = []
        for i in random.permutation(len(self._shards)):
            shard = self._shards[i]
            start = int(random.integers(max(shard.records, 1)))
            stream.append(Piece(shard.file, start, shard.records - start))
            stream.append(Piece(shard.file, 0, start))
        units = cut(stream, self._records_per_unit)
        seeds = random.integers(2**31, size=len(units))
        return [WorkUnit(epoch, i, int(seeds[i]), pieces) for i, pieces in enumerate(units)]


def in_order(shards: Sequence[Shard], size: int) -> list[WorkUnit]:
    """All records of ``shards`` in their order, ``size`` at a time."""
    stream = [Piece(shard.file, 0, shard.records) for shard in shards]
    return [WorkUnit(0, index, 0, pieces) for index, pieces in enumerate(cut(stream, size))]


def cut(stream: Sequence[Piece], size: int) -> list[tuple[Piece, ...]]:
    """`stream` cut into runs of `size` records; the last run is what is left."""
    runs: list[tuple[Piece, ...]] = []
    run: list[Piece] = []
    room = size
    for piece in stream:
        first, left = piece.first, piece.count
        while left:
            count = min(room, left)
            run.append(Piece(piece.file, first, count))
            first, left, room = first + count, left - count, room - count
            if not room:
                runs.append(tuple(run))
                run, room = [], size
    if run:
        runs.append(tuple(run))
    return runs
