"""Whether one kind of row is above another: their seeds together, user by user."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from benchmarks.reproduce._rgalign_rows import METRICS, STEPS, Row, Step
from feature_store import folders
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.statistics import Measures, mean_of, measures, paired


def compare(
    rows: Collection[Row], folder: Path, judge: RequestEvaluateConfig, known: Mapping[str, Any]
) -> dict[str, Any]:
    """By a step's ``about`` what `sides` leaves of it came to: ``made_of``, ``metrics`` of name to comparison, and
    ``each``, of name to the difference seed by seed.

    Args:
        folder: of the rows' evaluations. known: what was found before: a step of the same evaluations is not done anew.
    """
    held: dict[Row, Measures] = {}

    def of(row: Row) -> Measures:
        if row not in held:
            held[row] = measures(*request_evaluate.read(folder / row.name))
        return held[row]

    found = {}
    for step in STEPS:
        below, above = sides(step, rows)
        if not below:
            continue
        made_of = [[folders.version(folder / row.name) for row in side] for side in (below, above)]
        if known.get(step.about, {}).get("made_of") == made_of:
            found[step.about] = known[step.about]
            continue
        tests = paired(mean_of(list(map(of, below))), mean_of(list(map(of, above))), judge.bootstrap)
        each = {seed: [mean_of([of(row) for row in side if row.seed == seed]).values() for side in (below, above)]
                for seed in sorted({row.seed for row in above})}  # fmt: skip
        found[step.about] = {
            "made_of": made_of,
            "metrics": {metric: dataclasses.asdict(tests[metric]) for metric in METRICS},
            "each": {metric: [two[metric] - one[metric] for one, two in each.values()] for metric in METRICS},
        }
    return found


def sides(step: Step, rows: Collection[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of both sides, of the seeds and tunings that both have; none where there is no such seed."""
    below, above = (sorted(row for row in rows if row.kind == kind) for kind in (step.below, step.above))
    seeds = {row.seed for row in below} & {row.seed for row in above}
    tunings = {row.tuning for row in below} & {row.tuning for row in above}
    apart = not (step.below.tuning and step.above.tuning)
    return tuple([row for row in side if row.seed in seeds and (apart or row.tuning in tunings)]
                 for side in (below, above))  # fmt: skip
