"""Rows compared with their baselines, user by user: one by one, their seeds together, and on groups of users."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.reproduce._places import Places
from benchmarks.reproduce._results import Paired
from benchmarks.reproduce._rows import ALL, CUTOFFS, METRICS, Row
from trainer import evaluate, metrics, statistics
from trainer.config import EvaluateConfig
from trainer.ranking import Outcomes
from trainer.statistics import Comparison

METRIC = "recall@5"
"""Of groups."""


def seeds(
    pairs: Sequence[tuple[Row, Row]], places: Places, settings: EvaluateConfig,
    groups: Mapping[str, Collection[str]] | None = None,
) -> Paired:  # fmt: skip
    """The paired test of rows, each with its baseline, that differ in their seed alone: of each user's mean over them.

    Args:
        groups: of one pair, ids of the users whose R@5 is compared too.
    Raises:
        KeyError: a row's places are not kept. ValueError: they are not of the same users and targets.
    """
    after, before = ([places.of(row) for row in rows] for rows in zip(*pairs, strict=True))
    found = evaluate.compare_means(before, after, replace(settings, cutoffs=CUTOFFS))
    differences = {metric: found[metric] for metric in METRICS}
    if len(pairs) > 1:
        return Paired(*(replace(one, seed=ALL) for one in pairs[0]), differences)
    return Paired(*pairs[0], differences, of_groups(before[0], after[0], groups or {}, settings.bootstrap))


def of_groups(
    a: Outcomes, b: Outcomes, groups: Mapping[str, Collection[str]], bootstrap: int
) -> dict[str, Comparison]:
    """b − a of R@5 by group, over the same users; a group of which nobody is in the split has no comparison."""
    users, found = [user.decode() for user in a.user.tolist()], {}
    before, after = (metrics.recall(one.above, one.tied, 5) for one in (a, b))
    for name, members in groups.items():
        own = np.array([user in members for user in users])
        if own.any():
            found[name] = statistics.paired({METRIC: before[own]}, {METRIC: after[own]}, bootstrap)[METRIC]
    return found
