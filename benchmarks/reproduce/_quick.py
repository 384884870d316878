"""The same on a slice: every kind of row, its recipe cut to what trains in seconds, on MovieLens-100k."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from antiphon.config import Config
from benchmarks.reproduce._rows import Reproduction, Row
from feature_store.config import DataConfig
from trainer.config import TrainConfig

DATA = "ml100k"
LENGTH = 7  # three widths (`trainer.layers.groups`), each of which a graph is made for
ABOUT = """\
Models of width 16, trained for two epochs on MovieLens-100k, to see that all of it works. The figures mean nothing."""


def quick(reproduction: Reproduction) -> Reproduction:
    """`reproduction`'s first data set's rows by its first split, and one by each other split, with MovieLens-100k in
    the data set's place."""
    first = reproduction.rows[0].data
    there = [replace(row, data=DATA) for row in reproduction.rows if row.data == first]
    splits = {split: [row for row in there if row.split == split] for split in dict.fromkeys(r.split for r in there)}
    rows = tuple(row for number, part in enumerate(splits.values()) for row in part[: 1 if number else None])
    return small(reproduction, rows, lambda row: cut(reproduction.config(replace(row, data=first)), row))


def small(
    reproduction: Reproduction, rows: tuple[Row, ...], config: Callable[[Row], Config], about: str = ABOUT
) -> Reproduction:
    """`reproduction` with these rows in the place of its own, which mean nothing."""
    return replace(
        reproduction,
        name=f"{reproduction.name}_quick",
        command=f"{reproduction.command} --quick",
        title=f"{reproduction.title}: a slice",
        about=about,
        rows=rows,
        further=(),
        config=config,
        published=lambda row: None,
        best_known=lambda row: None,
        aim=lambda row: None,
        seeds=lambda row: 1,
        minutes=lambda row: 0.0,
        titles={**reproduction.titles, DATA: "MovieLens-100k"},
        here=True,
    )


def cut(config: Config, row: Row, length: int = LENGTH) -> Config:
    """`config`, which came from the row of another data set, for two epochs of a small model over `length` items."""
    variants = {name: _cut(train, length) for name, train in config.variants.items()}
    return replace(
        config, name=row.folder, data=DataConfig(), features=replace(config.features, history_length=length),
        train=variants[row.name], variants=variants, evaluate=replace(config.evaluate, bootstrap=200),
    )  # fmt: skip


def _cut(train: TrainConfig, length: int) -> TrainConfig:
    attributes = ("categories",) if train.model.attributes else ()
    return replace(
        train, batch=128, epochs=2, validate_every=2, checkpoint_every=2, steps_per_schedule=1,
        model=replace(train.model, d=16, blocks=1, max_length=length, attributes=attributes),
        pretrain=replace(train.pretrain, epochs=min(train.pretrain.epochs, 1)),
    )  # fmt: skip
