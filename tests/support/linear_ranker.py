"""A small ranker for tests of the alignment: ridge regression from a session's query vector to its intents.

It keeps the contract of `antiphon.align_ranker.Ranker`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store import alignment_tables, cross_fit, folders

_FILE = "weights.npz"


def settings(config: Any) -> Any:
    return {"ridge": 0.1}


def train(config: Any, queries: Path, out: Path) -> dict[str, Any]:
    texts, folds = Path(config.align.sessions), config.align.folds
    vectors, labels, intents = _vectors(queries, ["session_id"]), _labels(texts), _intents(texts)
    splits = alignment_tables.read(texts, "session_texts", "sessions", ["session_id", "split"]).to_pylist()
    trained = [row["session_id"] for row in splits if row["split"] == "train"]
    tested = [row["session_id"] for row in splits if row["split"] == "test"]
    fitted = {"all": _fit(trained, vectors, labels, intents)}
    for fold in range(folds):
        others = [session for session in trained if cross_fit.fold_of(session, folds) != fold]
        fitted[str(fold)] = _fit(others, vectors, labels, intents)
    hits = [intents[int(np.argmax(vectors[s,] @ fitted["all"]))] in labels[s] for s in tested]
    with folders.new_folder(out) as folder:
        np.savez(folder / _FILE, **fitted)
        made_of = {"sessions": folders.version(texts), "queries": folders.version(queries)}
        files = [folders.describe(folder / _FILE, folder)]
        folders.write_manifest(folder, {"kind": "rankers", "folds": folds, "made_of": made_of, "files": files})
    return {"metrics": {"recall@1": float(np.mean(hits))}}


def reward(config: Any, candidates: Path, vectors: Path, rankers: Path, out: Path) -> dict[str, Any]:
    texts, folds = Path(config.align.sessions), config.align.folds
    found, labels, intents = _vectors(vectors, ["session_id", "candidate"]), _labels(texts), _intents(texts)
    fitted, rows = np.load(rankers / _FILE), []
    for (session, candidate), vector in found.items():
        fold = cross_fit.fold_of(session, folds)
        scores = vector @ fitted[str(fold)]
        mine = np.isin(intents, sorted(labels[session]))
        place = 1 + int((scores > scores[mine].max()).sum())
        rows.append({"session_id": session, "candidate": candidate, "ndcg": 1 / np.log2(1 + place),
                     "margin": float(scores[mine].max() - scores[~mine].max()), "fold": fold})  # fmt: skip
    about = {"folds": folds, "ranker": folders.version(rankers),
             "made_of": {"candidates": folders.version(candidates), "vectors": folders.version(vectors)}}  # fmt: skip
    alignment_tables.write(out, "rewards", {"rewards": pa.Table.from_pylist(rows)}, about)
    return {"candidates": len(rows)}


def _fit(sessions: list[str], vectors: dict, labels: dict[str, set[str]], intents: list[str]) -> np.ndarray:
    """(D, K)."""
    x = np.stack([vectors[session,] for session in sessions])
    y = np.array([[intent in labels[session] for intent in intents] for session in sessions], float)
    return np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y)


def _labels(texts: Path) -> dict[str, set[str]]:
    rows = alignment_tables.read(texts, "session_texts", "sessions", ["session_id", "intents"]).to_pylist()
    return {row["session_id"]: set(row["intents"]) for row in rows}


def _intents(texts: Path) -> list[str]:
    return alignment_tables.read(texts, "session_texts", "intents", ["intent_id"])["intent_id"].to_pylist()


def _vectors(folder: Path, keys: list[str]) -> dict[tuple[str, ...], np.ndarray]:
    files = [folder / part["file"] for part in folders.read_manifest(folder)["files"]]
    table = pq.read_table(files, columns=[*keys, "vector"])
    return dict(zip(zip(*(table[k].to_pylist() for k in keys), strict=True), np.stack(table["vector"].to_pylist()),
                    strict=True))  # fmt: skip


def questions(config: Any, rankers: Path, out: Path, count: int) -> None:
    rows = alignment_tables.read(Path(config.align.sessions), "session_texts", "sessions").to_pylist()
    said = [{"session_id": row["session_id"], "query": f"{n}: {row['intents'][0]}"}
            for row in rows for n in range(count)]  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(map(json.dumps, said)))
