"""A row held against the figures it has to reach, in words."""

from __future__ import annotations

from enum import Enum

from benchmarks.reproduce._results import Result
from benchmarks.reproduce._rows import METRICS, Reference
from trainer.statistics import Interval


class Place(Enum):
    """Where a figure and its 95% interval lie beside a reference."""

    ABOVE = "above, with its whole interval"
    REACHED = "reached, the reference inside the interval"
    WITHIN = "below, the reference inside the interval"
    BELOW = "below, with its whole interval"


def place(found: Interval, reference: float) -> Place:
    """A figure that equals its reference has reached it."""
    if found.mean >= reference:
        return Place.ABOVE if found.low > reference else Place.REACHED
    return Place.WITHIN if found.high >= reference else Place.BELOW


def places(result: Result, reference: Reference) -> dict[str, Place]:
    """By metric, of those the reference has."""
    there = [metric for metric in METRICS if metric in reference.values]
    return {metric: place(result.test[metric], reference.values[metric]) for metric in there}


def stays_below(result: Result, reference: Reference) -> bool:
    """Whether some metric does."""
    return any(found in (Place.WITHIN, Place.BELOW) for found in places(result, reference).values())


def sentence(name: str, result: Result, reference: Reference) -> str:
    """"FDSA, paper, stays below the published figures: R@5 0.0250 against 0.0267 (…)"."""
    parts = [
        f"{METRICS[metric]} {result.test[metric].mean:.4f} against {reference.values[metric]:.4f} ({where.value})"
        for metric, where in places(result, reference).items()
    ]
    verb = "stays below" if stays_below(result, reference) else "reaches"
    return f"{name}, {verb} the {reference.name} figures: {'; '.join(parts)}."
