"""Two rows compared on groups of their users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from trainer import metrics, statistics
from trainer.config import EvaluateConfig
from trainer.statistics import Comparison


def compare(a: Path, b: Path, groups: Mapping[str, str], evaluate: EvaluateConfig) -> dict[str, Comparison]:
    """b − a of R@5 by group, smallest name first; users that are in no group are left out.

    Args:
        a, b: evaluations of the same users in the same order. groups: by user id.
    """
    if not groups:
        return {}
    table = pq.read_table(a / "per_user.parquet")
    names = np.array([groups.get(user.decode(), "") for user in table["user"].to_pylist()])
    before, after = _recall(a), _recall(b)
    found = {}
    for name in sorted(set(names) - {""}):
        own = names == name
        found[name] = statistics.paired({"r": before[own]}, {"r": after[own]}, evaluate.bootstrap)["r"]
    return found


def _recall(folder: Path) -> np.ndarray:
    table = pq.read_table(folder / "per_user.parquet")
    above, tied = (table[name].to_numpy() for name in ("above", "tied"))
    return metrics.recall(above, tied, 5)
