"""Checkpoints: a folder of arrays in logical order, whole or not there at all.

A table is one ``.npy`` file in the order of its rows, written and read a block at a time, so that a checkpoint
from any number of parameter servers is restored on any other number, and no process holds more than its share.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable


class CheckpointError(ValueError):
    """A checkpoint that does not fit the model it is restored into."""


def save(folder: Path, tables: list[EmbeddingTable], flat: FlatWeights, state: dict[str, Any]) -> Path:
    """Writes ``folder/ckpt-<step>`` and returns it; ``state["step"]`` names it.

    The folder gets its name only when every file is complete, so a kill at any moment leaves the previous
    checkpoints as they were.
    """
    final = folder / f"ckpt-{state['step']}"
    scratch = folder / f".writing-{final.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for table in tables:
        for name, variables in _arrays(table).items():
            shape = (table.rows, variables[0].shape[1])
            file = np.lib.format.open_memmap(scratch / f"{name}.npy", "w+", np.float32, shape)
            for first, values in table.blocks(variables):
                file[first : first + len(values)] = values
            file.flush()
    for name, variables in _vectors(flat).items():
        np.save(scratch / f"{name}.npy", flat.values(variables))
    (scratch / "state.json").write_text(json.dumps(state))
    shutil.rmtree(final, ignore_errors=True)
    scratch.rename(final)
    return final


def restore_for_use(checkpoint: Path, tables: list[EmbeddingTable], flat: FlatWeights, slot: str = "") -> None:
    """Fills the parameters alone, from their own arrays or from those of one slot (the averaged weights).

    Raises:
      CheckpointError: an array is missing or has another shape.
    """
    suffix = f".{slot}" if slot else ""
    for table in tables:
        name = f"table.{table.name}{suffix if table.trainable else ''}"
        values = _open(checkpoint / f"{name}.npy", (table.rows, table.width))
        table.load(table.shards, lambda start, stop, values=values: values[start:stop])
    flat.load(flat.variables, _open(checkpoint / f"dense{suffix}.npy", (flat.size,)))


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
            values = _open(there[name], (table.rows, variables[0].shape[1]))
            table.load(variables, lambda start, stop, values=values: values[start:stop])
    for name, variables in _vectors(flat).items():
        flat.load(variables, _open(there[name], (flat.size,)))
    return state


def newest(folder: Path) -> Path | None:
    """The checkpoint with the highest step in ``folder``, or None."""
    found = _all(folder)
    return found[-1] if found else None


def prune(folder: Path, keep: int, also: str = "") -> None:
    """Removes all but the newest ``keep`` checkpoints and the one named ``also``, and what a killed save left."""
    for old in _all(folder)[:-keep]:
        if old.name != also:
            shutil.rmtree(old)
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left)


def _all(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("ckpt-*") if re.fullmatch(r"ckpt-\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("ckpt-")))


def _arrays(table: EmbeddingTable) -> dict[str, list[tf.Variable]]:
    return {f"table.{table.name}": table.shards} | {f"table.{table.name}.{n}": s for n, s in table.slots.items()}


def _vectors(flat: FlatWeights) -> dict[str, list[tf.Variable]]:
    return {"dense": flat.variables} | {f"dense.{name}": slot for name, slot in flat.slots.items()}


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if not path.exists():
        raise CheckpointError(f"{path.parent}: the model needs {path.stem!r}, which the checkpoint has not")
    values = np.load(path, mmap_mode="r")
    if values.shape != shape:
        raise CheckpointError(f"{path}: the model needs shape {shape}, the checkpoint has {values.shape}")
    return values
