"""Two rows compared on groups of their users."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from trainer import metrics, statistics
from trainer.config import EvaluateConfig
from trainer.statistics import Comparison

METRIC = "recall@5"


def compare(
    a: Path, b: Path, groups: Mapping[str, Collection[str]], evaluate: EvaluateConfig
) -> dict[str, Comparison]:
    """b − a of R@5 by group.

    Args:
        a, b: evaluations of the same users in the same order. groups: ids of each one's users; a group of which nobody
            is in the split has no comparison.
    """
    if not groups:
        return {}
    users = [user.decode() for user in pq.read_table(a / "per_user.parquet")["user"].to_pylist()]
    before, after, found = _recall(a), _recall(b), {}
    for name, members in groups.items():
        own = np.array([user in members for user in users])
        if own.any():
            found[name] = statistics.paired({METRIC: before[own]}, {METRIC: after[own]}, evaluate.bootstrap)[METRIC]
    return found


def _recall(folder: Path) -> np.ndarray:
    table = pq.read_table(folder / "per_user.parquet")
    above, tied = (table[name].to_numpy() for name in ("above", "tied"))
    return metrics.recall(above, tied, 5)
