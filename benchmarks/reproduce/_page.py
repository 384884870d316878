"""A reproduction's page in Markdown and its pictures, made from its results alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from antiphon import records
from benchmarks.reproduce import _tables
from benchmarks.reproduce._results import Results
from benchmarks.reproduce._rows import Reproduction, Row

METHOD = """\
Every item but padding and those the user has met before is ranked, the target always; items of equal score take their
expected place. Leave-one-out holds out a user's last event for the test and the one before it for validation; the
global time split holds out whole periods, so that nothing later than a target was trained on. The best epoch is chosen
by NDCG@10 on validation, never by the test split. Brackets are 95% intervals by bootstrap over users; what another seed
would change is not in them. Training minutes are wall clock, and in brackets those of all processors together: where
the second is small beside the first, the machine did other work too. Both have the start of the process and validation
in them."""
FEW = 8
"""Rows that are not there yet are named one by one, if there are no more than so many."""


def write(reproduction: Reproduction, results: Results, folder: Path) -> Path:
    """Writes `<name>.md` and its pictures into `folder`; returns the former."""
    for name, picture in reproduction.pictures(reproduction, results).items():
        records.write_text(folder / f"{name}.svg", picture)
    parts = [f"# {reproduction.title}", *_head(reproduction, results, folder)]
    page = folder / f"{reproduction.name}.md"
    records.write_text(page, "\n\n".join([*parts, *reproduction.body(reproduction, results)]) + "\n")
    return page


def _head(reproduction: Reproduction, results: Results, folder: Path) -> Iterable[str]:
    rows, there = reproduction.all_rows(), [row for row in results.rows if reproduction.knows(row)]
    done = [results.rows[row] for row in there]
    dates = sorted({result.date for result in done})
    machines = {f"{one.machine['processor']}, {_tables.count(one.machine['cores'], 'core')}" for one in done}
    span = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "not yet"
    missing = [row for row in rows if row not in results.rows]
    yield reproduction.about
    file, count = results.path.name, f"{len(rows) - len(missing)} of {len(rows)} rows"
    yield (
        f"Made by `{reproduction.command}` from [`{file}`]({file}), which has each row's settings too: "
        f"{count}, {span}, on {'; '.join(sorted(machines)) or 'no machine yet'}."
    )
    if missing:
        yield from _told_missing(missing)
    yield METHOD
    tuning = f"{reproduction.name}_tuning.md"
    if (folder / tuning).exists():
        yield f"How the recipes were found, and what was tried: [{tuning}]({tuning})."


def _told_missing(rows: Sequence[Row]) -> Iterable[str]:
    """Each row where they are few, else by what they share with others."""
    if len(rows) <= FEW:
        yield f"Not there yet: {'; '.join(map(str, rows))}."
        return
    seeds: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        place = f"{row.data} · {row.split.replace('_', ' ')} · {row.backbone}"
        seeds.setdefault(place, {}).setdefault(row.recipe, []).append(row.seed)
    lines = []
    for place, recipes in seeds.items():
        told = (name if some == [1] else f"{name} (seed {' and '.join(map(str, some))})"
                for name, some in recipes.items())  # fmt: skip
        lines.append(f"- {place}: {', '.join(told)}")
    yield "\n".join([f"Not there yet, {len(rows)} rows:", "", *lines])
