"""Checkpoints: a folder of arrays in logical order, whole or not there at all.

A table is one ``.npy`` file in the order of its rows, written and read a block at a time, so that a checkpoint
from any number of parameter servers is restored on any other number, and no process holds more than its share.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from feature_store.folders import sync_folder
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable


class CheckpointError(ValueError):
    """A checkpoint that does not fit the model it is restored into."""


class Array(NamedTuple):
    """One file of a checkpoint."""

    name: str
    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]  # float32, one after the other


def arrays(tables: list[EmbeddingTable], flat: FlatWeights) -> Iterator[Array]:
    """Everything a checkpoint holds; each block is read from its servers when it is asked for."""
    for table in tables:
        for name, variables in _arrays(table).items():
            values = (block for _, block in table.blocks(variables))
            yield Array(name, (table.rows, variables[0].shape[1]), values)
    for name, variables in _vectors(flat).items():
        yield Array(name, (flat.size,), [flat.values(variables)])


def size(tables: list[EmbeddingTable], flat: FlatWeights) -> int:
    """Bytes of what ``arrays`` gives."""
    held = sum(table.rows * shards[0].shape[1] for table in tables for shards in _arrays(table).values())
    return 4 * (held + len(_vectors(flat)) * flat.size)


def save(folder: Path, tables: list[EmbeddingTable], flat: FlatWeights, state: dict[str, Any]) -> Path:
    """Writes ``folder/ckpt-<step>`` and returns it; ``state["step"]`` names it."""
    return write(folder, arrays(tables, flat), state)


def write(folder: Path, found: Iterable[Array], state: dict[str, Any]) -> Path:
    """Writes ``folder/ckpt-<step>`` and returns it.

    The folder gets its name only when every file is complete and on the disk, so a kill or a power cut at any moment
    leaves the previous checkpoints as they were.

    Raises:
      OSError: the disk is full, or the folder cannot be written; nothing of the new checkpoint is left then.
    """
    final = folder / f"ckpt-{state['step']}"
    scratch, replaced = folder / f".writing-{final.name}", folder / f".replaced-{final.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        for array in found:
            _write_array(scratch / f"{array.name}.npy", array)
        _write_file(scratch / "state.json", [json.dumps(state).encode()])
        sync_folder(scratch)
        if final.exists():
            final.rename(replaced)
        scratch.rename(final)
        sync_folder(folder)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
    return final


def restore_for_use(checkpoint: Path, tables: list[EmbeddingTable], flat: FlatWeights, slot: str = "") -> None:
    """Fills the parameters alone, from their own arrays or from those of one slot (the averaged weights).

    Raises:
      CheckpointError: an array is missing or has another shape.
    """
    suffix = f".{slot}" if slot else ""
    for table in tables:
        name = f"table.{table.name}{suffix if table.trainable else ''}"
        values = open_array(checkpoint / f"{name}.npy", (table.rows, table.width))
        table.load(table.shards, values)
    flat.load(flat.variables, open_array(checkpoint / f"dense{suffix}.npy", (flat.size,))(0, flat.size))


def restore(checkpoint: Path, tables: list[EmbeddingTable], flat: FlatWeights) -> dict[str, Any]:
    """Fills the parameters and all their slots from a checkpoint; returns its state.

    Raises:
      CheckpointError: an array is missing, has another shape, or would be left over.
    """
    if not (checkpoint / "state.json").exists():
        raise CheckpointError(f"{checkpoint}: no checkpoint (state.json is missing)")
    state = json.loads((checkpoint / "state.json").read_text())
    there = {p.stem: p for p in checkpoint.glob("*.npy")}
    wanted = {name for t in tables for name in _arrays(t)} | set(_vectors(flat))
    if missing := wanted - set(there):
        raise CheckpointError(f"{checkpoint}: the model needs {sorted(missing)}, which the checkpoint has not")
    if unexpected := set(there) - wanted:
        raise CheckpointError(f"{checkpoint}: the checkpoint has {sorted(unexpected)}, which the model has not")
    for table in tables:
        for name, variables in _arrays(table).items():
            table.load(variables, open_array(there[name], (table.rows, variables[0].shape[1])))
    for name, variables in _vectors(flat).items():
        flat.load(variables, open_array(there[name], (flat.size,))(0, flat.size))
    return state


def newest(folder: Path) -> Path | None:
    """The checkpoint with the highest step in ``folder``, or None."""
    found = _all(folder)
    return found[-1] if found else None


def steps(folder: Path) -> list[int]:
    """Of the checkpoints in ``folder``, rising."""
    return [int(p.name.removeprefix("ckpt-")) for p in _all(folder)]


def prune(folder: Path, keep: int, also: str = "") -> None:
    """Removes all but the newest ``keep`` checkpoints and the one named ``also``, and what a killed save left."""
    for old in _all(folder)[:-keep]:
        if old.name != also:
            shutil.rmtree(old, ignore_errors=True)
    for left in (*folder.glob(".writing-*"), *folder.glob(".replaced-*")):
        shutil.rmtree(left, ignore_errors=True)


def _all(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("ckpt-*") if re.fullmatch(r"ckpt-\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("ckpt-")))


def _arrays(table: EmbeddingTable) -> dict[str, list[tf.Variable]]:
    return {f"table.{table.name}": table.shards} | {f"table.{table.name}.{n}": s for n, s in table.slots.items()}


def _vectors(flat: FlatWeights) -> dict[str, list[tf.Variable]]:
    return {"dense": flat.variables} | {f"dense.{name}": slot for name, slot in flat.slots.items()}


def open_array(path: Path, shape: tuple[int, ...]) -> Callable[[int, int], np.ndarray]:
    """A function that reads rows from start to stop. Nothing is mapped: the file's pages would count as memory.

    Raises:
      CheckpointError: the file is missing, or holds another shape.
    """
    there, dtype, start_of_data = _header(path)
    if there != shape:
        raise CheckpointError(f"{path}: the model needs shape {shape}, the checkpoint has {there}")
    row = math.prod(shape[1:])

    def read(start: int, stop: int) -> np.ndarray:
        offset = start_of_data + start * row * dtype.itemsize
        return np.fromfile(path, dtype, (stop - start) * row, offset=offset).reshape(stop - start, *shape[1:])

    return read


def array_shape(path: Path) -> tuple[int, ...]:
    """Of the array in one file.

    Raises:
      CheckpointError: the file is missing.
    """
    return _header(path)[0]


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type, and where the data starts."""
    if not path.exists():
        raise CheckpointError(f"{path.parent}: the model needs {path.stem!r}, which the checkpoint has not")
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return shape, dtype, file.tell()


def _write_array(path: Path, array: Array) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": array.shape}

    def parts() -> Iterator[memoryview]:
        for block in array.blocks:
            yield np.ascontiguousarray(block, "<f4").data

    _write_file(path, parts(), lambda file: np.lib.format.write_array_header_1_0(file, header))


def _write_file(path: Path, parts: Iterable[bytes | memoryview], begin: Callable[[Any], None] | None = None) -> None:
    """Plain writes: on a full disk a write is an error, and a page of a mapped file would end the process."""
    with path.open("wb") as file:
        if begin:
            begin(file)
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
