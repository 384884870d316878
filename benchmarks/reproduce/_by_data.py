"""A page with a section for each data set and split, and a picture of all rows of one split."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchmarks.reproduce import _chart, _tables, _verdict
from benchmarks.reproduce._results import Result, Results
from benchmarks.reproduce._rows import METRICS, Reference, Reproduction, Row

SPLITS = {"leave_one_out": "leave-one-out", "global_time": "global time split"}


def body(reproduction: Reproduction, results: Results) -> Iterable[str]:
    """See `Reproduction`."""
    rows = reproduction.all_rows()
    there = sorted((row for row in results.rows if reproduction.knows(row)), key=_order(rows))
    if pictures(reproduction, results):
        yield f"![R@5 of every row]({reproduction.name}.svg)"
    data_sets, splits = (dict.fromkeys(getattr(row, name) for row in reproduction.rows) for name in ("data", "split"))
    for data, split in itertools.product(data_sets, splits):
        found = [results.rows[row] for row in there if (row.data, row.split) == (data, split)]
        yield from _section(reproduction, results, found) if found else []


def pictures(reproduction: Reproduction, results: Results) -> Mapping[str, str]:
    """See `Reproduction`."""
    panels = []
    for data in dict.fromkeys(row.data for row in reproduction.rows):
        rows = [row for row in reproduction.rows if row.data == data and row.split == "leave_one_out"]
        rows = [row for row in rows if row in results.rows]
        if rows:
            bars = [_bar(reproduction, results.rows[row]) for row in rows]
            title = f"{reproduction.titles[data]}, R@5"
            panels.append(_chart.Panel(title, bars, _recall(reproduction.best_known(rows[0]))))
    return {reproduction.name: _chart.draw(panels, "R@5")} if panels else {}


def _section(reproduction: Reproduction, results: Results, found: Sequence[Result]) -> list[str]:
    row = found[0].row
    parts = [f"## {reproduction.titles[row.data]}, {SPLITS[row.split]}"]
    parts.append(f"{found[0].users:,} users; {found[0].protocol}.")
    first = [result for result in found if result.row.seed == 1]
    parts.append(_main_table(reproduction, first))
    held = [line for result in first for line in _held(reproduction, result, found)]
    parts += ["\n".join(held)] if held else []
    parts += _tables.over_seeds(reproduction, found)
    parts += _tables.user_by_user(reproduction, results.comparisons(result.row for result in found))
    return parts


def _main_table(reproduction: Reproduction, found: Sequence[Result]) -> str:
    published = {result.row: reproduction.published(result.row) for result in found}
    best = {reference.name: reference for result in found if (reference := reproduction.best_known(result.row))}
    beside = any(published.values())
    head = ["backbone", "recipe", "loss", *METRICS.values(), *(["published R@5 / N@5"] if beside else [])]
    head += ["best of epochs", "training min"]
    rows = []
    for result in found:
        cells = [reproduction.titles[result.row.backbone], result.row.recipe, result.loss]
        cells += [_tables.interval(result.test[metric]) for metric in METRICS]
        cells += [_tables.pair(published[result.row])] if beside else []
        rows.append([*cells, _tables.epochs(result), _tables.minutes(result)])
    for reference in best.values():
        cells = [reference.name, "", reference.source]
        cells += [f"{reference.values[m]:.4f}" if m in reference.values else "" for m in METRICS]
        rows.append([*cells, *([""] if beside else []), "", ""])
    sources = sorted({reference.source for reference in published.values() if reference})
    note = f"\n\nPublished: {'; '.join(sources)}." if sources else ""
    return _tables.table(head, rows) + note


def _held(reproduction: Reproduction, result: Result, found: Sequence[Result]) -> Iterable[str]:
    """The row held against what it has to reach, and if it was trained with several seeds, their mean."""
    reference = reproduction.aim(result.row)
    if reference is None:
        return
    name = reproduction.called(result.row)
    yield f"- {_verdict.sentence(name, result, reference)}"
    seeds = [one for one in found if replace(one.row, seed=1) == result.row]
    if len(seeds) > 1:
        yield f"- {_verdict.over_seeds(name, seeds, reference)}"


def _bar(reproduction: Reproduction, result: Result) -> _chart.Bar:
    published = _recall(reproduction.published(result.row))
    return _chart.Bar(reproduction.called(result.row), result.test["recall@5"], published)


def _recall(reference: Reference | None) -> float | None:
    return reference.values.get("recall@5") if reference else None


def _order(rows: Sequence[Row]):
    """The page's order; seeds beyond those that are meant come last."""
    place = {row: number for number, row in enumerate(rows)}
    return lambda row: (place.get(row, len(place)), row)
