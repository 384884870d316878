"""What a reproduction is: which rows, how each is configured, and what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from antiphon.config import Config

if TYPE_CHECKING:
    from benchmarks.reproduce._results import Results

METRICS = {"recall@5": "R@5", "ndcg@5": "N@5", "recall@10": "R@10", "ndcg@10": "N@10"}
"""What a row tells of the test split, and how it is written."""

CUTOFFS = (5, 10)
"""Theirs."""


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


ALL = 0
"""In a seed's place: the mean of all seeds that are there."""


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
        name: of its files, `<name>.json`, `<name>.md`, and what its pictures' names begin with.
        command: that makes them.
        title, about: the page's heading and first paragraph.
        choices: the options that choose rows, each with the `Row`'s field that it is of.
        rows: all of them, in the page's order, each with seed 1.
        further: rows that are done only where their backbone is asked for by name.
        config: a row's run: `name` is the row's folder, its last variant the row's name.
        published, best_known, aim: what stands beside a row, and which figures it has to reach; None where there are
            none.
        baselines: the rows that this one is compared with, user by user.
        seeds: how many of a row.
        titles: how data sets, backbones and recipes are written on the page.
        body: the page's sections, of what is known.
        pictures: SVG by name, of what is known.
        slice: itself, on little data with small models: `--quick`.
        cost: what the rows cost, in a sentence.
        minutes: what a row is thought to take on two cores, where none like it has been done; 0 where that is unknown.
        observe: what else is to be known of a row that has been evaluated, as JSON.
        group: the user groups by which a row is compared with a baseline: the ids of each one's users.
        start: the row whose model this one starts from; None for none.
        here: do every stage in this process, for models so small that starting processes takes longer.
    """

    name: str
    command: str
    title: str
    about: str
    choices: Mapping[str, str]
    rows: tuple[Row, ...]
    config: Callable[[Row], Config]
    published: Callable[[Row], Reference | None]
    best_known: Callable[[Row], Reference | None]
    aim: Callable[[Row], Reference | None]
    baselines: Callable[[Row], Sequence[Row]]
    seeds: Callable[[Row], int]
    titles: Mapping[str, str]
    body: Callable[[Reproduction, Results], Iterable[str]]
    pictures: Callable[[Reproduction, Results], Mapping[str, str]]
    slice: Callable[[Reproduction], Reproduction]
    cost: str
    further: tuple[Row, ...] = ()
    minutes: Callable[[Row], float] = lambda row: 0.0
    observe: Callable[[Row, Config], Mapping[str, Any]] = lambda row, config: {}
    group: Callable[[Row, Row, Config], Mapping[str, Collection[str]]] = lambda row, baseline, config: {}
    start: Callable[[Row], Row | None] = lambda row: None
    here: bool = False

    def all_rows(self, seeds: int | None = None, further: bool = False) -> list[Row]:
        """Every row with each of its seeds, or with `seeds` of them."""
        counts = {row: seeds or self.seeds(row) for row in (*self.rows, *(self.further if further else ()))}
        return [replace(row, seed=seed) for row, count in counts.items() for seed in range(1, count + 1)]

    def knows(self, row: Row) -> bool:
        """Whether it is one of the rows, with any seed."""
        return replace(row, seed=1) in (*self.rows, *self.further)

    def called(self, row: Row) -> str:
        """As the page names it."""
        return f"{self.titles[row.backbone]}, {self.titles.get(row.recipe, row.recipe)}"
