"""How often the query that is chosen means what a user truly wanted, where it is known what a query means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from antiphon import records
from feature_store import alignment_tables, intents
from llm_offline.alignment.candidates import parse


def meaning(
    candidates: Path, rewards: Path, best: Mapping[str, Path], base: Path, truth: Path, out: Path
) -> dict[str, Any]:
    """Writes and returns what `measured` says of the folders; ``best`` is Best-of-N's by strategy."""
    rows = pq.read_table(truth, columns=["session_id", "intents"]).to_pylist()
    wanted = {row["session_id"]: set(row["intents"]) for row in rows}
    told = alignment_tables.read(candidates, "candidates", "candidates").to_pylist()
    right = rightness(told, wanted, intents.read(base).to_pylist())
    given = alignment_tables.read(rewards, "rewards", "rewards").to_pylist()
    chosen = {name: [(row["session_id"], row["candidate"]) for row in
                     alignment_tables.read(folder, "best_of_n", "samples").to_pylist()]
              for name, folder in best.items()}  # fmt: skip
    found = measured(right, given, chosen)
    records.write_text(out, records.to_json(found))
    return found


def rightness(
    candidates: Sequence[Mapping[str, Any]], wanted: Mapping[str, Collection[str]], base: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], bool]:
    """Of the candidates that are a question of the base (`intents.question`), whether it means an intent that the
    session's user truly wanted."""
    said: dict[str, dict[str, str]] = {}
    found = {}
    for row in candidates:
        session = row["session_id"]
        if session not in said:
            said[session] = {parse(intents.question(intent, session)): intent["intent_id"] for intent in base}
        meant = said[session].get(row["query"])
        if meant is not None:
            found[session, row["candidate"]] = meant in wanted[session]
    return found


def measured(
    right: Mapping[tuple[str, str], bool],
    rewards: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Sequence[tuple[str, str]]],
) -> dict[str, Any]:
    """
    - ``sessions`` with such a question, and ``there``: the share of them where one is right.
    - of the sessions where some are right and some are not (``differ``, the share): ``best``, how often the best of
      them by reward, then by margin, is right, and ``chance``, that of one at random.
    - by strategy ``samples``, and of these the share that is ``known``: a question of the base; of the known ones the
      share that is ``right``, and ``chance``: the mean share of their sessions' questions that is.
    """
    of_session: dict[str, list[tuple[float, float, bool]]] = {}
    for row in rewards:
        key = (row["session_id"], row["candidate"])
        if key in right:
            of_session.setdefault(key[0], []).append((row["ndcg"], row["margin"], right[key]))
    shares = {session: np.mean([one for *_, one in rows]) for session, rows in of_session.items()}
    differ = [session for session, share in shares.items() if 0 < share < 1]
    best = [max(of_session[session], key=lambda row: row[:2])[2] for session in differ]
    found: dict[str, Any] = {
        "sessions": len(shares),
        "there": _mean([share > 0 for share in shares.values()]),
        "differ": len(differ) / max(len(shares), 1),
        "best": _mean(best),
        "chance": _mean([shares[session] for session in differ]),
    }
    for name, keys in chosen.items():
        known = [key for key in keys if key in right]
        found[name] = {
            "samples": len(keys),
            "known": len(known) / max(len(keys), 1),
            "right": _mean([right[key] for key in known]),
            "chance": _mean([shares[session] for session, _ in known]),
        }
    return {name: _rounded(told) for name, told in found.items()}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _rounded(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _rounded(each) for name, each in told.items()}
    return round(told, 4) if isinstance(told, float) else told
