"""A model that starts from another's best checkpoint: what both have is carried over, what is new begins as ever.

Rows of tables follow their ids: the row of an item is found by its name in the vocabularies of both models, so that
items may have come, gone and moved. Dense weights are matched by where they hang in the model, and a weight of both
must have one shape. CoCo's backbone has the names that the backbone has without CoCo.

What the other model is used with (its averaged weights, where it has any) are the first weights of this one, so before
any step both score alike. The optimizer goes on where the other's was, its count of steps included, where it is the
same optimizer of the same weights; of another model it starts anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from feature_store.errors import DataError
from trainer import saved
from trainer.attributes import Attributes
from trainer.averaging import SLOT, WeightAverage
from trainer.checkpoint import CheckpointError, array_shape, open_array
from trainer.config import TrainConfig
from trainer.knowledge import Basis
from trainer.layers.features import Feature, row_map
from trainer.layers.flat import FlatWeights, weight_shapes
from trainer.layers.tables import BLOCK_ROWS, EmbeddingTable
from trainer.optimizers import Optimizer
from trainer.recommender import ATTRIBUTE, Recommender, networks

NAMES = "vocabulary"
"""Folder in ``models/<variant>`` of the names its tables' rows have, by which another model finds them."""


def keep_names(out: Path, items: Sequence[str], attributes: Attributes | None) -> None:
    """Writes the names of the rows into ``models/<variant>``: items in order of their index, from 1, and attributes."""
    _write_lines(out / NAMES / "item.txt", items)
    if attributes is not None:
        _write_lines(out / NAMES / "attribute.txt", attributes.names)


@dataclass(frozen=True)
class Source:
    """The model to start from.

    Attributes:
      checkpoint: its best. config: its `TrainConfig`, as JSON.
      items: their ids, in order of their index from 1. attributes: (column, value) of each, where it has any.
    """

    checkpoint: Path
    config: Mapping[str, Any]
    items: list[str]
    attributes: list[tuple[str, str]]

    @classmethod
    def open(cls, folder: Path) -> Source:
        """Opens ``models/<variant>``.

        Raises:
          FileNotFoundError: that model has not finished training.
          DataError: it does not say which item each of its rows is.
        """
        checkpoint, config = saved.best_of(folder)
        path = folder / NAMES / "item.txt"
        if not path.is_file():
            raise DataError("does not say which item its rows are; `antiphon train` of it again adds that", file=folder)
        attributes = folder / NAMES / "attribute.txt"
        pairs = [(column, value) for column, value in _read_lines(attributes)] if attributes.is_file() else []
        return cls(checkpoint, config, _read_lines(path), pairs)

    def has(self, array: str) -> bool:
        """Whether the checkpoint holds an array of that name."""
        return (self.checkpoint / f"{array}.npy").is_file()

    @property
    def basis(self) -> Basis | None:
        """The coordinates that its weights know knowledge in; None where it knows none."""
        path = self.checkpoint / "table.knowledge.npy"
        return Basis(self.items, np.load(path)) if path.is_file() else None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its dense weights, in the checkpoint's order."""
        model, coco = saved.settings_of(self.config)
        width = array_shape(self.checkpoint / "table.knowledge.npy")[1] if model.knowledge else None
        backbone, around = networks(model, coco, width)
        return _shapes(around or backbone)

    @property
    def steps(self) -> int:
        """That its optimizer's slots have seen."""
        state = json.loads((self.checkpoint / "state.json").read_text())
        return state["step"] - state["phase_step"] + state.get("start", {}).get("steps", 0)


def start(
    source: Source,
    recommender: Recommender,
    optimizer: Optimizer,
    items: Sequence[str],
    config: TrainConfig,
    average: WeightAverage | None,
) -> dict[str, Any]:
    """Carries the source's parameters and slots over to ``recommender``, whose slots are there already, and says so.

    The tables of knowledge are left: see ``Source.basis``.

    Args:
      items: ids of the recommender's, in order of their index from 1. config: what it will be trained with.

    Returns:
      What was carried over: ``checkpoint``; ``items`` and ``weights``, each with what was ``kept``, is ``new`` and
      ``gone``; ``optimizer``, "kept" or "anew"; ``steps`` that it has seen.

    Raises:
      CheckpointError: a table or a weight of both has not one shape; the message names it and both.
    """
    dense, tables = recommender.dense, [table for table in recommender.tables if table.trainable]
    before, now = source.shapes, _shapes(dense.model)
    _check_shapes(source, before, now)
    rows = _rows(source, recommender, items)
    used = f".{SLOT}" if source.config["average"] and average is None else ""
    new = [name for name in now if name not in before]
    same = not new and all(source.has(f"table.{table.name}") for table in tables)
    keeps = same and _same_optimizer(source.config["optimizer"], config, bool(used))
    for table in tables:
        if table.name in rows:
            _carry_rows(source, table, table.shards, used, rows[table.name])
    _carry_weights(source, dense, dense.variables, used, before, now)
    if keeps:
        _carry_slots(source, tables, dense, list(optimizer.slots), rows, before, now)
    else:
        optimizer.reset(recommender.tables, dense)
    if average is not None:
        average.update(1)
        if source.config["average"]:
            _carry_slots(source, tables, dense, [SLOT], rows, before, now)
        average.begins(
            {table.name: rows.get(table.name, np.full(table.rows, -1)) < 0 for table in tables},
            [name for name in weight_shapes(dense.model) if name.removeprefix("backbone.") in new],
        )
    kept = int((rows["item"][1:] > 0).sum())
    gone = [name for name in before if name not in now]
    optimizer.taken = source.steps if keeps else 0
    found = {
        "checkpoint": str(source.checkpoint),
        "items": {"kept": kept, "new": len(items) - kept, "gone": len(source.items) - kept},
        "weights": {"kept": len(now) - len(new), "new": new, "gone": gone},
        "optimizer": "kept" if keeps else "anew",
        "steps": optimizer.taken,
    }
    tqdm.write(_line(found))
    return found


def _line(found: Mapping[str, Any]) -> str:
    items, weights = found["items"], found["weights"]
    return (
        f"starting from {found['checkpoint']}: items {items['kept']} kept, {items['new']} new, {items['gone']} gone; "
        f"weights {weights['kept']} kept, {len(weights['new'])} new, {len(weights['gone'])} gone; "
        f"the optimizer {'goes on' if found['optimizer'] == 'kept' else 'starts anew'}"
    )


def places(before: Sequence[Hashable], now: Sequence[Hashable]) -> np.ndarray:
    """For each of ``now`` its place in ``before``: (n,) int64, -1 where it is not there."""
    known = {name: place for place, name in enumerate(before)}
    return np.array([known.get(name, -1) for name in now], np.int64)


def _rows(source: Source, recommender: Recommender, items: Sequence[str]) -> dict[str, np.ndarray]:
    """By table that both have, for each of its rows the source's row of the same name, -1 where there is none."""
    moved = places(source.items, items)
    found = {"item": np.concatenate([[0], np.where(moved < 0, -1, moved + 1)])}
    if recommender.features is not None and source.attributes:
        (now,) = recommender.features.features.values()
        before = Feature(ATTRIBUTE, len(source.attributes), now.width, now.kind)
        ids = {ATTRIBUTE: places(source.attributes, recommender.attributes.names)}
        (mapped,) = row_map([before], [now], ids, spread=False)
        (table,) = recommender.features.tables
        if source.has(f"table.{table.name}"):
            found[table.name] = mapped
    return found


def _check_shapes(source: Source, before: Mapping[str, tuple[int, ...]], now: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in now.items():
        if before.get(name, shape) != shape:
            rule = f"has shape {before[name]}, this model's {shape}"
            raise CheckpointError(f"{source.checkpoint}: weight {name!r} {rule}")


def _same_optimizer(before: Mapping[str, Any], config: TrainConfig, averaged: bool) -> bool:
    """Whether slots go on. FTRL's tell the weights themselves, for its settings alone."""
    now = config.optimizer
    if now.kind != "ftrl":
        return before["kind"] == now.kind
    return not averaged and dict(before) == vars(now)


def _carry_slots(
    source: Source,
    tables: Sequence[EmbeddingTable],
    dense: FlatWeights,
    slots: Sequence[str],
    rows: Mapping[str, np.ndarray],
    before: Mapping[str, tuple[int, ...]],
    now: Mapping[str, tuple[int, ...]],
) -> None:
    for slot in slots:
        for table in tables:
            if table.name in rows:
                _carry_rows(source, table, table.slots[slot], f".{slot}", rows[table.name])
        _carry_weights(source, dense, dense.slots[slot], f".{slot}", before, now)


def _carry_rows(source: Source, table: EmbeddingTable, variables: list, suffix: str, rows: np.ndarray) -> None:
    """Rows (n,) of the source -> ``variables``, the table's own or a slot's; those below 0 keep their values."""
    path = source.checkpoint / f"table.{table.name}{suffix}.npy"
    count = len(source.items) + 1 if table.name == "item" else len(source.attributes)
    read = open_array(path, (count, variables[0].shape[1]))

    def change(first: int, values: np.ndarray) -> np.ndarray:
        _fill(values, rows[first : first + len(values)], read)
        return values

    table.revise(variables, change)


def _fill(values: np.ndarray, rows: np.ndarray, read: Callable[[int, int], np.ndarray]) -> None:
    """Rows of ``read`` into ``values``, by blocks: where both vocabularies are in one order, one or two of them."""
    for block in np.unique(rows[rows >= 0] // BLOCK_ROWS):
        here = rows // BLOCK_ROWS == block
        first, last = rows[here].min(), rows[here].max()
        values[here] = read(first, last + 1)[rows[here] - first]


def _carry_weights(
    source: Source,
    dense: FlatWeights,
    variables: list,
    suffix: str,
    before: Mapping[str, tuple[int, ...]],
    now: Mapping[str, tuple[int, ...]],
) -> None:
    """The source's dense weights, or a slot of theirs -> ``variables``; those it has not keep their values."""
    size = sum(int(np.prod(shape)) for shape in before.values())
    there = _cut(open_array(source.checkpoint / f"dense{suffix}.npy", (size,))(0, size), before)
    own = _cut(dense.values(variables), now)
    parts = [there.get(name, values) for name, values in own.items()]
    dense.load(variables, np.concatenate(parts))


def _cut(values: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    return dict(zip(shapes, np.split(values, ends[:-1]), strict=True))


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix("backbone."): shape for name, shape in weight_shapes(model).items()}


def _write_lines(path: Path, values: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".writing")
    scratch.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    scratch.rename(path)


def _read_lines(path: Path) -> list[Any]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(each) for each in lines]
