"""A reproduction's page in Markdown and its picture, made from its results alone."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from antiphon import records
from benchmarks.reproduce import _chart, _verdict
from benchmarks.reproduce._results import Paired, Result, Results
from benchmarks.reproduce._rows import METRICS, Reference, Reproduction, Row
from trainer.statistics import Interval

SPLITS = {"leave_one_out": "leave-one-out", "global_time": "global time split"}
METHOD = """\
Every item but padding and those the user has met before is ranked, the target always; items of equal score take their
expected place. Leave-one-out holds out a user's last event for the test and the one before it for validation; the
global time split holds out whole periods, so that nothing later than a target was trained on. The best epoch is chosen
by NDCG@10 on validation, never by the test split. Brackets are 95% intervals by bootstrap over users; what another seed
would change is not in them. Training minutes are wall clock, and in brackets those of all processors together: where
the second is small beside the first, the machine did other work too. Both have the start of the process and validation
in them."""


def write(reproduction: Reproduction, results: Results, folder: Path) -> Path:
    """Writes `<name>.md` and `<name>.svg` into `folder`; returns the former."""
    rows = reproduction.all_rows()
    there = [row for row in results.rows if replace(row, seed=1) in reproduction.rows]
    picture = _picture(reproduction, results)
    if picture:
        records.write_text(folder / f"{reproduction.name}.svg", picture)
    parts = [f"# {reproduction.title}", *_head(reproduction, results, rows, there, folder)]
    parts += [f"![R@5 of every row]({reproduction.name}.svg)"] if picture else []
    data_sets, splits = (dict.fromkeys(getattr(row, name) for row in reproduction.rows) for name in ("data", "split"))
    places = itertools.product(data_sets, splits)
    for data, split in places:
        found = [results.rows[row] for row in sorted(there, key=_order(rows)) if (row.data, row.split) == (data, split)]
        parts += _section(reproduction, results, found) if found else []
    page = folder / f"{reproduction.name}.md"
    records.write_text(page, "\n\n".join(parts) + "\n")
    return page


def _head(
    reproduction: Reproduction, results: Results, rows: Sequence[Row], there: Sequence[Row], folder: Path
) -> Iterable[str]:
    done = [results.rows[row] for row in there]
    dates = sorted({result.date for result in done})
    machines = sorted({f"{result.machine['processor']}, {_count(result.machine['cores'], 'core')}" for result in done})
    span = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "not yet"
    missing = [str(row) for row in rows if row not in results.rows]
    yield reproduction.about
    file, count = results.path.name, f"{len(rows) - len(missing)} of {len(rows)} rows"
    yield (
        f"Made by `{reproduction.command}` from [`{file}`]({file}), which has each row's settings too: "
        f"{count}, {span}, on {'; '.join(machines) or 'no machine yet'}."
    )
    if missing:
        yield f"Not there yet: {'; '.join(missing)}."
    yield METHOD
    tuning = f"{reproduction.name}_tuning.md"
    if (folder / tuning).exists():
        yield f"How the recipes were found, and what was tried: [{tuning}]({tuning})."


def _section(reproduction: Reproduction, results: Results, found: Sequence[Result]) -> list[str]:
    row = found[0].row
    parts = [f"## {reproduction.titles[row.data]}, {SPLITS[row.split]}"]
    parts.append(f"{found[0].users:,} users; {found[0].protocol}.")
    first = [result for result in found if result.row.seed == 1]
    parts.append(_main_table(reproduction, first))
    held = [line for result in first for line in _held(reproduction, result, found)]
    parts += ["\n".join(held)] if held else []
    parts += _seeds(reproduction, found)
    parts += _comparisons(reproduction, [results.paired[r.row] for r in found if r.row in results.paired])
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
        cells += [_interval(result.test[metric]) for metric in METRICS]
        cells += [_pair(published[result.row])] if beside else []
        epochs = f"{result.best_epoch} of {result.epochs}"
        epochs += f", the first {result.pretrain_epochs} pre-training" if result.pretrain_epochs else ""
        rows.append([*cells, epochs, f"{result.wall_seconds / 60:.1f} ({result.processor_seconds / 60:.1f})"])
    for reference in best.values():
        cells = [reference.name, "", reference.source]
        cells += [f"{reference.values[m]:.4f}" if m in reference.values else "" for m in METRICS]
        rows.append([*cells, *([""] if beside else []), "", ""])
    sources = sorted({reference.source for reference in published.values() if reference})
    note = f"\n\nPublished: {'; '.join(sources)}." if sources else ""
    return _table(head, rows) + note


def _held(reproduction: Reproduction, result: Result, found: Sequence[Result]) -> Iterable[str]:
    """The row held against what it has to reach, and if it was trained with several seeds, their mean."""
    reference = reproduction.aim(result.row)
    if reference is None:
        return
    name = _name(reproduction, result.row)
    yield f"- {_verdict.sentence(name, result, reference)}"
    seeds = [one for one in found if replace(one.row, seed=1) == result.row]
    if len(seeds) > 1:
        yield f"- {_verdict.over_seeds(name, seeds, reference)}"


def _seeds(reproduction: Reproduction, found: Sequence[Result]) -> list[str]:
    groups: dict[Row, list[Result]] = {}
    for result in found:
        groups.setdefault(replace(result.row, seed=1), []).append(result)
    rows = []
    for row, results in groups.items():
        if len(results) > 1:
            cells = [_spread([result.test[metric].mean for result in results]) for metric in METRICS]
            rows.append([reproduction.titles[row.backbone], row.recipe, str(len(results)), *cells])
    if not rows:
        return []
    told = "Over seeds: the mean, its standard deviation between seeds (n − 1), the lowest and the highest."
    return [told, _table(["backbone", "recipe", "seeds", *METRICS.values()], rows)]


def _comparisons(reproduction: Reproduction, found: Sequence[Paired]) -> list[str]:
    if not found:
        return []
    rows = []
    for paired in found:
        cells = [_name(reproduction, paired.row), _name(reproduction, paired.baseline)]
        for metric in METRICS:
            one = paired.differences[metric]
            moved, low, high = (f"{value:+.4f}".replace("-", "−") for value in (one.difference, one.low, one.high))
            cells.append(f"{moved} ({low} to {high}), p {one.p_value:.2g}")
        rows.append(cells)
    told = "User by user, seed 1: the difference, its 95% interval, and the p value of a sign-flip test."
    return [told, _table(["row", "less", *METRICS.values()], rows)]


def _picture(reproduction: Reproduction, results: Results) -> str:
    panels = []
    for data in dict.fromkeys(row.data for row in reproduction.rows):
        rows = [row for row in reproduction.rows if row.data == data and row.split == "leave_one_out"]
        rows = [row for row in rows if row in results.rows]
        if rows:
            bars = [_bar(reproduction, results.rows[row]) for row in rows]
            title = f"{reproduction.titles[data]}, R@5"
            panels.append(_chart.Panel(title, bars, _recall(reproduction.best_known(rows[0]))))
    return _chart.draw(panels, "R@5") if panels else ""


def _bar(reproduction: Reproduction, result: Result) -> _chart.Bar:
    published = _recall(reproduction.published(result.row))
    return _chart.Bar(_name(reproduction, result.row), result.test["recall@5"], published)


def _recall(reference: Reference | None) -> float | None:
    return reference.values.get("recall@5") if reference else None


def _name(reproduction: Reproduction, row: Row) -> str:
    return f"{reproduction.titles[row.backbone]}, {row.recipe}"


def _order(rows: Sequence[Row]):
    """The page's order; seeds beyond those that are meant come last."""
    place = {row: number for number, row in enumerate(rows)}
    return lambda row: (place.get(row, len(place)), row)


def _interval(found: Interval) -> str:
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"


def _pair(reference: Reference | None) -> str:
    if reference is None:
        return ""
    return " / ".join(f"{reference.values[metric]:.4f}" for metric in ("recall@5", "ndcg@5"))


def _spread(values: Sequence[float]) -> str:
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    return f"{mean:.4f} ± {spread:.4f} ({min(values):.4f} to {max(values):.4f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
