"""A row held against the figures it has to reach, in a sentence."""

from __future__ import annotations

from benchmarks.reproduce._results import Result
from benchmarks.reproduce._rows import METRICS, Reference
from trainer.statistics import Interval


def reached(found: Interval, reference: float) -> bool:
    return found.mean >= reference


def where(found: Interval, reference: float) -> str:
    """Where the reference lies beside the 95% interval, whose ends are part of it."""
    if reference < found.low:
        return "below its interval"
    return "above its interval" if reference > found.high else "inside its interval"


def sentence(name: str, result: Result, reference: Reference) -> str:
    """Which metrics stay below the reference's, and which reach them."""
    below, above = [], []
    for metric, label in METRICS.items():
        if metric in reference.values:
            found, value = result.test[metric], reference.values[metric]
            told = f"{label} ({found.mean:.4f} against {value:.4f}, {where(found, value)})"
            (above if reached(found, value) else below).append(told)
    if not below:
        return f"{name}, reaches the {reference.name} figures in {', '.join(above)}."
    rest = f"; it reaches them in {', '.join(above)}" if above else ""
    return f"{name}, stays below the {reference.name} figures in {', '.join(below)}{rest}."
