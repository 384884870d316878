"""Results as cells and tables of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.reproduce._results import Paired, Result
from benchmarks.reproduce._rows import ALL, METRICS, Reference, Reproduction, Row
from trainer.statistics import Comparison, Interval


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def interval(found: Interval) -> str:
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"


def pair(reference: Reference | None) -> str:
    """A reference's R@5 and N@5."""
    if reference is None:
        return ""
    return " / ".join(f"{reference.values[metric]:.4f}" for metric in ("recall@5", "ndcg@5"))


def difference(one: Comparison) -> str:
    moved, low, high = (signed(value) for value in (one.difference, one.low, one.high))
    return f"{moved} ({low} to {high}), p {one.p_value:.2g}"


def signed(value: float, form: str = "+.4f") -> str:
    return f"{value:{form}}".replace("-", "−")


def spread(values: Sequence[float]) -> str:
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return f"{mean:.4f} ± {deviation:.4f} ({min(values):.4f} to {max(values):.4f})"


def epochs(result: Result) -> str:
    found = f"{result.best_epoch} of {result.epochs}"
    return found + (f", the first {result.pretrain_epochs} pre-training" if result.pretrain_epochs else "")


def minutes(result: Result) -> str:
    return f"{result.wall_seconds / 60:.1f} ({result.processor_seconds / 60:.1f})"


def count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def over_seeds(reproduction: Reproduction, found: Sequence[Result]) -> list[str]:
    """The spread of rows that were trained with several seeds; nothing where there are none."""
    groups: dict[Row, list[Result]] = {}
    for result in found:
        groups.setdefault(replace(result.row, seed=1), []).append(result)
    rows = []
    for row, results in groups.items():
        if len(results) > 1:
            cells = [spread([result.test[metric].mean for result in results]) for metric in METRICS]
            rows.append([*_named(reproduction, row), str(len(results)), *cells])
    if not rows:
        return []
    told = "Over seeds: the mean, its standard deviation between seeds (n − 1), the lowest and the highest."
    return [told, table(["backbone", _recipe(reproduction), "seeds", *METRICS.values()], rows)]


def user_by_user(reproduction: Reproduction, found: Sequence[Paired]) -> list[str]:
    """The paired tests; nothing where there are none."""
    if not found:
        return []
    seeds, rows = {paired.row.seed for paired in found}, []
    for paired in found:
        cells = [reproduction.called(row) for row in (paired.row, paired.baseline)]
        cells += ["all" if paired.row.seed == ALL else str(paired.row.seed)] if len(seeds) > 1 else []
        rows.append([*cells, *(difference(paired.differences[metric]) for metric in METRICS)])
    each = "seed by seed, and each user's mean of all seeds" if len(seeds) > 1 else f"seed {min(seeds)}"
    told = f"User by user, {each}: the difference, its 95% interval, and the p value of a sign-flip test."
    return [told, table(["row", "less", *(["seed"] if len(seeds) > 1 else []), *METRICS.values()], rows)]


def _named(reproduction: Reproduction, row: Row) -> list[str]:
    return [reproduction.titles[row.backbone], reproduction.titles.get(row.recipe, row.recipe)]


def _recipe(reproduction: Reproduction) -> str:
    """What a reproduction calls its rows' recipes."""
    return next(option for option, field in reproduction.choices.items() if field == "recipe")
