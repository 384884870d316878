"""A row held against the figures it has to reach, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from benchmarks.reproduce._results import Result
from benchmarks.reproduce._rows import METRICS, Reference
from trainer.statistics import Interval


def where(found: Interval, reference: float) -> str:
    """Where the reference lies beside the 95% interval, whose ends are part of it."""
    if reference < found.low:
        return "below its interval"
    return "above its interval" if reference > found.high else "inside its interval"


def sentence(name: str, result: Result, reference: Reference) -> str:
    """Which metrics stay below the reference's, and which reach them, to the digits that are published."""
    figures = {}
    for metric, value in reference.values.items():
        found = result.test[metric]
        figures[metric] = (found.mean, f", {where(found, value)}")
    return _told(name, figures, reference)


def over_seeds(name: str, results: Sequence[Result], reference: Reference) -> str:
    """As ``sentence``, of the means of one row's seeds."""
    figures = {metric: (fmean(one.test[metric].mean for one in results), "") for metric in reference.values}
    return _told(f"{name}, mean of {len(results)} seeds", figures, reference)


_DIGITS = 4  # published figures have as many


def _told(name: str, figures: Mapping[str, tuple[float, str]], reference: Reference) -> str:
    below, above = [], []
    for metric, label in METRICS.items():
        if metric in figures:
            (found, beside), value = figures[metric], reference.values[metric]
            told = f"{label} ({found:.{_DIGITS}f} against {value:.{_DIGITS}f}{beside})"
            (above if round(found, _DIGITS) >= value else below).append(told)
    if not below:
        return f"{name}, reaches the {reference.name} figures in {', '.join(above)}."
    rest = f"; it reaches them in {', '.join(above)}" if above else ""
    return f"{name}, stays below the {reference.name} figures in {', '.join(below)}{rest}."
