"""What a reproduction is: which rows, how each is configured, and what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from antiphon.config import Config

METRICS = {"recall@5": "R@5", "ndcg@5": "N@5", "recall@10": "R@10", "ndcg@10": "N@10"}
"""What a row tells of the test split, and how it is written."""


@dataclass(frozen=True, order=True)
class Row:
    """One model, trained and evaluated once."""

    data: str
    split: str  # leave_one_out | global_time
    backbone: str
    recipe: str
    seed: int = 1

    @property
    def name(self) -> str:
        """Of the model within its folder."""
        return f"{self.backbone}-{self.recipe}-{self.seed}"

    @property
    def folder(self) -> str:
        """Of the run that it shares with the other rows of its data set and split."""
        return f"{self.data}_{self.split}"

    def __str__(self) -> str:
        split = self.split.replace("_", " ")
        return f"{self.data} · {split} · {self.backbone} · {self.recipe} · seed {self.seed}"


@dataclass(frozen=True)
class Reference:
    """Figures from outside: `values` by metric, as `METRICS` names them."""

    name: str  # "published"
    values: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Reproduction:
    """A table to reproduce.

    Attributes:
        name: of its files, `<name>.json`, `<name>.md`, `<name>.svg`.
        command: that makes them.
        title, about: the page's heading and first paragraph.
        rows: all of them, in the page's order, each with seed 1.
        config: a row's run: `name` is the row's folder, its one variant the row's name.
        published, best_known, aim: what stands beside a row, and which figures it has to reach; None where there are
            none.
        baseline: the row that this one is compared with, user by user; None for none.
        seeds: how many of a row.
        titles: how data sets and backbones are written on the page.
        here: do every stage in this process, for models so small that starting processes takes longer.
    """

    name: str
    command: str
    title: str
    about: str
    rows: tuple[Row, ...]
    config: Callable[[Row], Config]
    published: Callable[[Row], Reference | None]
    best_known: Callable[[Row], Reference | None]
    aim: Callable[[Row], Reference | None]
    baseline: Callable[[Row], Row | None]
    seeds: Callable[[Row], int]
    titles: Mapping[str, str]
    here: bool = False

    def all_rows(self, seeds: int | None = None) -> list[Row]:
        """Every row with each of its seeds, or with `seeds` of them."""
        counts = {row: seeds or self.seeds(row) for row in self.rows}
        return [replace(row, seed=seed) for row, count in counts.items() for seed in range(1, count + 1)]
