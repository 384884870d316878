"""Best-of-N: which of a session's candidates the reasoner shall learn from (RGAlign-Rec §4.2, V1 to V4; Eq. 9).

Better is the higher NDCG; of equal ones the larger margin of the clicked intent's score; of equal ones again the
teacher who stands first in the priority list (DECISIONS, RGAlign-Rec 10).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store import alignment_tables, folders
from feature_store.checks import one_of
from feature_store.errors import DataError
from llm_offline.alignment_config import STRATEGIES


@dataclass(frozen=True)
class Candidate:
    """A query with its reward.

    Attributes:
        own: the reasoner's.
        distance: words to insert, delete or replace to make one of the reasoner's queries of it, the nearest one.
        cosine: of its vector with that of the golden intent, the nearest one where there are several.
        learnt: whether it may be learnt from; a query that is shorter or longer than asked for may not. One of the
            reasoner's own is compared with all the same.
    """

    candidate: str
    teacher: str
    own: bool
    query: str
    ndcg: float
    margin: float
    distance: int = 0
    cosine: float = 0.0
    learnt: bool = True


def in_order(candidates: Iterable[Candidate], priority: Sequence[str]) -> list[Candidate]:
    """The best first."""
    place = {teacher: n for n, teacher in enumerate(priority)}
    return sorted(candidates, key=lambda c: (-c.ndcg, -c.margin, place[c.teacher], c.candidate))


def choose(candidates: Sequence[Candidate], strategy: str, priority: Sequence[str]) -> list[Candidate]:
    """What one session gives to learn from; none, one, or with V4 up to two.

    Compared are candidates that may be learnt from, and the reasoner's own queries of any length.

    v1: the best. v2: the best, unless it is the reasoner's own. v3: of the other teachers' that one which is farthest
    from the reasoner's queries and nearest to the golden intent, where one is both. v4: the farthest and the nearest.
    """
    best = in_order(candidates, priority)
    if strategy == "v1":
        return [one for one in best if one.learnt][:1]
    if strategy == "v2":
        return [one for one in best[:1] if not one.own and one.learnt]
    others = [one for one in best if not one.own and one.learnt]
    if not others or not any(one.own for one in best):  # nothing to compare, or to compare with
        return []
    far = max(one.distance for one in others)
    near = max(one.cosine for one in others)
    farthest = [one for one in others if one.distance == far]
    nearest = [one for one in others if one.cosine == near]
    if strategy == "v3":
        return [one for one in farthest if one in nearest][:1]
    return list(dict.fromkeys([farthest[0], nearest[0]]))


def pairs(chosen: Candidate, candidates: Iterable[Candidate], margins: bool) -> list[tuple[Candidate, str]]:
    """The candidates that the chosen one is better than, and by what: ndcg (Eq. 9), or with ``margins`` also by the
    margin where the NDCG is equal. Those that may not be learnt from are no answers to reject."""
    found = []
    for other in candidates:
        if not other.learnt:
            continue
        if chosen.ndcg > other.ndcg:
            found.append((other, "ndcg"))
        elif margins and chosen.ndcg == other.ndcg and chosen.margin > other.margin:
            found.append((other, "margin"))
    return found


def _worst(told: list[tuple[Candidate, str]], most: int) -> list[tuple[Candidate, str]]:
    """Those pairs whose rejected one is worth least, ``most`` of them; 0 is all, as they are."""
    return sorted(told, key=lambda pair: (pair[0].ndcg, pair[0].margin))[:most] if most else told


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's, over words without case."""
    rows, columns = one.lower().split(), other.lower().split()
    last = list(range(len(columns) + 1))
    for n, word in enumerate(rows, 1):
        line = [n]
        for m, theirs in enumerate(columns, 1):
            line.append(min(last[m] + 1, line[m - 1] + 1, last[m - 1] + (word != theirs)))
        last = line
    return last[-1]


def run(
    sessions: Path, candidates: Path, rewards: Path, out: Path, strategy: str, priority: Sequence[str],
    margins: bool = True, any_length: bool = False, vectors: Path | None = None, intents: Path | None = None,
    most_pairs: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Writes ``out`` (`alignment_tables`' ``best_of_n``): samples to learn from, and pairs for DPO.

    Args:
        sessions, candidates, rewards: folders of `alignment_tables`.
        priority: every teacher's name, the preferred first.
        any_length: also queries that are shorter or longer than asked for.
        vectors, intents: with v3 and v4, folders of the candidates' and the intents' vectors.
        most_pairs: of a chosen query, those with the worst; 0 is all.
    Returns:
        sessions, samples, pairs; why sessions gave none; of how many the best NDCG is tied, and the margin too.
    Raises:
        ValueError: an unknown strategy, or a teacher that is not in ``priority``.
        DataError: a folder is not whole; a candidate has no reward; with v3 and v4, a session is not to train on
            (DECISIONS, RGAlign-Rec 11), or a vector is missing.
    """
    one_of("strategy", strategy, STRATEGIES)
    told, about = _read(candidates, "candidates"), alignment_tables.read_manifest(rewards, "rewards")
    unknown = sorted({row["teacher"] for row in told} - set(priority))
    if unknown:
        raise ValueError(f"priority must name every teacher, received {list(priority)} without {unknown[0]!r}")
    known = {row["session_id"]: row for row in _read(sessions, "session_texts", "sessions")}
    looks = strategy in ("v3", "v4")
    groups = _rewarded(told, _read(rewards, "rewards"), any_length, rewards)
    cosine = _cosines(groups, known, vectors, intents, sessions) if looks else {}
    samples, compared, counts = [], [], Counter()
    for session, rows in groups.items():
        if looks and (found := known[session]["split"]) != "train":
            rule = f"{strategy} looks at the golden intent: a session must be one to train on, {session!r} is not"
            raise DataError(rule, file=sessions, field="split", value=found)
        found = _measured(session, rows, cosine) if looks else rows
        chosen = choose(found, strategy, priority)
        counts.update(_ties(found))
        counts["without_choice"] += not chosen
        for one in chosen:
            samples.append({"session_id": session, "candidate": one.candidate, "query": one.query,
                            "intents": known[session]["intents"]})  # fmt: skip
            compared += [{"session_id": session, "chosen": one.candidate, "rejected": other.candidate, "by": by}
                         for other, by in _worst(pairs(one, found, margins), most_pairs)]  # fmt: skip
    schemas = alignment_tables.TABLES["best_of_n"]
    tables = {"samples": pa.Table.from_pylist(samples, schemas["samples"]),
              "pairs": pa.Table.from_pylist(compared, schemas["pairs"])}  # fmt: skip
    by = Counter(row["by"] for row in compared)
    asked = len({row["session_id"] for row in told})
    summary = {
        "sessions": asked,
        "without_candidate": asked - len(groups),
        "without_choice": counts["without_choice"],
        "samples": len(samples),
        "by_teacher": dict(sorted(Counter(row["candidate"].rpartition("/")[0] for row in samples).items())),
        "pairs": len(compared),
        "pairs_by_ndcg": by["ndcg"],
        "tie_rate": round(counts["ndcg"] / max(len(groups), 1), 4),
        "tie_rate_after_margin": round(counts["margin"] / max(len(groups), 1), 4),
    }
    made_of = {path.name: folders.version(path) for path in map(Path, (sessions, candidates, rewards))}
    described = {"strategy": strategy, "priority": list(priority), "summary": summary, "made_of": made_of,
                 **{name: about[name] for name in ("ranker", "folds") if name in about}}  # fmt: skip
    alignment_tables.write(out, "best_of_n", tables, described)
    return summary


def _read(folder: Path, kind: str, table: str = "") -> list[dict[str, Any]]:
    return alignment_tables.read(folder, kind, table or kind).to_pylist()


def _rewarded(
    told: list[dict[str, Any]], rewards: list[dict[str, Any]], any_length: bool, file: Path
) -> dict[str, list[Candidate]]:
    """Each session's candidates of the right length, and the reasoner's own of any, with their rewards; nothing of
    sessions that have none of the right length."""
    given = {(row["session_id"], row["candidate"]): row for row in rewards}
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for row in told:
        learnt = row["outcome"] == "kept" or (any_length and row["outcome"] != "empty")
        if learnt or (row["own"] and row["outcome"] != "empty"):
            key = (row["session_id"], row["candidate"])
            if key not in given:
                raise DataError("a candidate has no reward", file=file, field="candidate", value=key)
            reward = given[key]
            told_of = (key[1], row["teacher"], row["own"], row["query"], reward["ndcg"], reward["margin"])
            groups[key[0]].append(Candidate(*told_of, learnt=learnt))
    return {session: rows for session, rows in groups.items() if any(one.learnt for one in rows)}


def _ties(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Whether several of those that may be learnt from share the best NDCG, and the best margin among these."""
    learnt = [one for one in candidates if one.learnt]
    top = max(one.ndcg for one in learnt)
    tied = [one.margin for one in learnt if one.ndcg == top]
    return {"ndcg": int(len(tied) > 1), "margin": int(tied.count(max(tied)) > 1)}


def _measured(session: str, rows: list[Candidate], cosine: Mapping[tuple[str, str], float]) -> list[Candidate]:
    """With distances, where the reasoner itself wrote something to be compared with, and cosines."""
    own = [one.query for one in rows if one.own]
    if not own:
        return rows
    return [
        replace(one, distance=min(edit_distance(one.query, query) for query in own),
                cosine=cosine[session, one.candidate])
        for one in rows
    ]  # fmt: skip


def _cosines(
    groups: Mapping[str, list[Candidate]], known: Mapping[str, dict[str, Any]], vectors: Path | None,
    intents: Path | None, sessions: Path,
) -> dict[tuple[str, str], float]:  # fmt: skip
    """Of every candidate, with the nearest of its session's intents."""
    if vectors is None or intents is None:
        raise ValueError("vectors and intents must be given with v3 and v4")
    mine, golden = _vectors(vectors, ["session_id", "candidate"]), _vectors(intents, ["intent_id"])
    found = {}
    for session, rows in groups.items():
        wanted = known[session]["intents"]
        missing = [intent for intent in wanted if (intent,) not in golden]
        if not wanted or missing:
            raise DataError("needs an intent that has a vector", file=sessions, field="intents", value=wanted)
        theirs = np.stack([golden[intent,] for intent in wanted])  # (k, D)
        for one in rows:
            key = (session, one.candidate)
            if key not in mine:
                raise DataError("a candidate has no vector", file=vectors, field="candidate", value=key)
            found[key] = float((theirs @ mine[key]).max())
    return found


def _vectors(folder: Path, keys: list[str]) -> dict[tuple[str, ...], np.ndarray]:
    """Vectors of length one, by their keys."""
    files = [Path(folder) / part["file"] for part in folders.read_manifest(folder)["files"]]
    table = pq.read_table(files, columns=[*keys, "vector"])
    vectors = np.stack(table["vector"].to_pylist()).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return dict(zip(zip(*(table[key].to_pylist() for key in keys), strict=True), vectors, strict=True))
