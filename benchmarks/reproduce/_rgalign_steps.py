"""Whether one kind of row is above another: their seeds together, user by user."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduce._rgalign_rows import METRICS, STEPS, Row, Step
from benchmarks.reproduce._users import Kept
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.statistics import Measures, mean_of, measures, of_shares, paired


def keep(row: Row, evaluated: Path, kept: Kept) -> None:
    """Keeps what each user adds to an evaluation's metrics."""
    found = measures(*request_evaluate.read(evaluated))
    added, weights = (np.stack([found.shares[metric][side] for metric in METRICS]) for side in (0, 1))
    kept.put(row.name, added.astype(np.float32), {"user": found.users.astype("S"), "weight": weights})


def compare(
    rows: Collection[Row], kept: Kept, judge: RequestEvaluateConfig, known: Mapping[str, Any]
) -> dict[str, Any]:
    """By a step's ``about`` what `sides` leaves of it came to: ``made_of``, ``metrics`` of name to comparison, and
    ``each``, of name to the difference seed by seed.

    Args:
        kept: the rows' users. known: what was found before: a step of the same users' figures is not done anew.
    """

    @cache
    def of(row: Row) -> Measures:
        added, shared = kept.of(row.name)
        parts = zip(METRICS, added.astype(np.float64), shared["weight"], strict=True)
        return of_shares(shared["user"], {metric: np.stack(part) for metric, *part in parts})

    found = {}
    for step in STEPS:
        below, above = sides(step, rows)
        if not below:
            continue
        made_of = [[kept.digest(row.name) for row in side] for side in (below, above)]
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
