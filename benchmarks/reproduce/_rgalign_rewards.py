"""How far the rewards of candidate queries agree with what the users truly wanted, which only the simulator knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from antiphon import records
from feature_store import alignment_tables, folders
from trainer.requests import rewards as judging


def agreement(rewards: Path, judges: Path, vectors: Path, truth: Path, out: Path, placed: bool) -> dict[str, Any]:
    """Judges the candidates once more, by the true intents in the place of those clicked, and writes and returns what
    `measured` says; under ``other`` also of rewards by vectors that are not placed among the sessions where the given
    ones are (``placed``), or are where those are not.

    It is the same ranker that looks at the same vectors both times, so that this tells how much the noise of clicks
    costs, and not whether a query means what is wanted: `_rgalign_meaning` does.
    """
    rows = pq.read_table(truth, columns=["session_id", "intents"])
    labels = {name: set(true) for name, true in zip(*(rows[c].to_pylist() for c in rows.column_names), strict=True)}

    def judged(by: Mapping[str, Collection[str]] | None, place: bool) -> pa.Table:
        folds = [judges / f"fold-{fold}" for fold in range(folders.read_manifest(judges)["folds"])]
        return pa.concat_tables(
            judging.rewards(here / "requests", here / "model", vectors, by, place) for here in folds
        )

    found = {"placed": placed, **_agreed(alignment_tables.read(rewards, "rewards", "rewards"), judged(labels, placed))}
    found["other"] = _agreed(judged(None, not placed), judged(labels, not placed))
    records.write_text(out, records.to_json(found))
    return found


def _agreed(given: pa.Table, true: pa.Table) -> dict[str, Any]:
    told = {(row["session_id"], row["candidate"]): row["ndcg"] for row in true.to_pylist()}
    sessions: dict[str, list[tuple[float, float, float]]] = {}
    for row in given.to_pylist():
        one = (row["ndcg"], row["margin"], told[row["session_id"], row["candidate"]])
        sessions.setdefault(row["session_id"], []).append(one)
    return measured([np.array(rows) for rows in sessions.values()])


def measured(sessions: list[np.ndarray]) -> dict[str, Any]:
    """Of sessions' candidates (n, 3), each with its reward, its margin, and the NDCG of the true intents:

    - ``best``: share of sessions whose best by reward, then margin, is one of the truly best; ``chance``: the same of a
      candidate at random. Sessions whose candidates are all truly alike are left out; ``differ`` is the others' share.
    - ``pairs``: of two candidates of a session that are truly different, the share that the reward puts in their order,
      one that is tied counting half; ``pairs_by_margin``: with the margin where the reward is tied.
    """
    best, chance, ordered, by_margin, total = [], [], 0.0, 0.0, 0
    for rows in sessions:
        reward, margin, true = rows.T
        if true.min() == true.max():
            continue
        top = true == true.max()
        best.append(top[np.lexsort((margin, reward))[-1]])
        chance.append(top.mean())
        above = true[:, None] > true[None]
        by_reward = np.sign(reward[:, None] - reward[None])
        both = np.where(by_reward == 0, np.sign(margin[:, None] - margin[None]), by_reward)
        ordered += ((by_reward[above] + 1) / 2).sum()
        by_margin += ((both[above] + 1) / 2).sum()
        total += above.sum()
    count = max(len(sessions), 1)
    if not best:
        return {"sessions": len(sessions), "differ": 0.0}
    return {
        "sessions": len(sessions),
        "differ": round(len(best) / count, 4),
        "best": round(float(np.mean(best)), 4),
        "chance": round(float(np.mean(chance)), 4),
        "pairs": round(float(ordered / total), 4),
        "pairs_by_margin": round(float(by_margin / total), 4),
    }
