"""The alignment's two steps of tuning, from folders to an adapter: RG-SFT, then RG-CL or RG-DPO (RGAlign-Rec §4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_store import alignment_tables, folders
from feature_store.checks import one_of, require
from feature_store.errors import DataError
from feature_store.session_requests import CANDIDATE_QUERIES, QUERIES, place_of, vectors_of
from llm_offline.alignment import tuning
from llm_offline.alignment.objectives import Contrastive, Dpo, Objective, Sft, Targets, score
from llm_offline.alignment.policy import Policy, Text
from llm_offline.alignment.reasoner import session_prompt
from llm_offline.alignment_config import ReasonerConfig, TuneConfig
from llm_offline.chat import prompt_ids

OBJECTIVES = ("sft", "cl", "dpo")
_REFERENCE = "reference.npy"


def run(
    objective: str, sessions: Path, candidates: Path, best: Path, vectors: Path | None, out: Path,
    reasoner: ReasonerConfig, config: TuneConfig, start: Path | None, asked: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Writes the adapter ``out``; see `tuning.run`.

    Args:
        objective: sft | cl | dpo.
        sessions, candidates, best: folders of `alignment_tables`.
        vectors: of the candidates, as they were rewarded; with cl, they are what the states come near to.
        start: of sft, the adapter that wrote the candidates, if any; of the others, what sft made.
        asked: with cl, the sessions' vectors that rankers were trained on. States are then compared in deviations from
            the mean of those to train on, as a ranker reads them, and targets in deviations from the candidates'. The
            states of a decoder all lie in one direction: without this, all cosines are nearly 1 and tell little.
    Raises:
        ValueError: an unknown objective; the reasoner's vectors are not its states (cl), or are pooled at a token that
            an answer cannot follow.
        DataError: a folder is not whole, there is nothing to learn from, or a vector is missing.
    """
    one_of("objective", objective, OBJECTIVES)
    if objective == "cl":
        require(reasoner.vector == "states", "reasoner.vector", "must be 'states' with refine: cl", reasoner.vector)
    require(reasoner.pooling != "eos", "reasoner.pooling", "must be 'last' or 'mean' to be tuned", reasoner.pooling)
    rows = alignment_tables.read(best, "best_of_n", "pairs" if objective == "dpo" else "samples").to_pylist()
    if not rows:
        raise DataError(f"there is nothing for {objective} to learn from", file=best)
    told = alignment_tables.read(sessions, "session_texts", "sessions", ["session_id", "text"]).to_pylist()
    contexts = {row["session_id"]: row["text"] for row in told}
    near = targets(rows, vectors) if objective == "cl" else None
    if near is not None and asked is not None:
        near = standardised(near, sessions, asked, vectors)

    def prepare(policy: Policy, kept: Path) -> Objective:
        texts = Texts(policy, reasoner, contexts)
        if objective == "dpo":
            return _dpo(rows, candidates, policy, texts, kept, config)
        found = [texts.of(row["session_id"], row["query"]) for row in rows]
        if objective == "sft":
            return Sft(found, config)
        return Contrastive(found, near, config)

    folders_read = {"sessions": sessions, "candidates": candidates, "best_of_n": best, "vectors": vectors,
                    "asked": asked}  # fmt: skip
    made_of = {name: folders.version(path) for name, path in folders_read.items() if path is not None}
    return tuning.run(Path(out), objective, reasoner, config, start, prepare, made_of)


class Texts:
    """Sessions' prompts and queries as the model's tokens."""

    def __init__(self, policy: Policy, reasoner: ReasonerConfig, contexts: Mapping[str, str]) -> None:
        self._tokenizer, self._reasoner, self._contexts = policy.tokenizer, reasoner, contexts
        self._end = [self._tokenizer.eos_token_id] if self._tokenizer.eos_token_id is not None else []
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._count = 0

    def of(self, session: str, query: str) -> Text:
        """The prompt as `reasoner.Reasoner` reads it, then the query and the token that ends it."""
        if session not in self._prompts:
            ids = prompt_ids(self._tokenizer, session_prompt(self._contexts[session]))
            self._prompts[session] = tuple(ids[-self._reasoner.max_tokens :])
        answer = self._tokenizer(query, add_special_tokens=False)["input_ids"]
        self._count += 1
        return Text(self._count, self._prompts[session], (*answer, *self._end))


def _dpo(
    rows: list[dict[str, Any]], candidates: Path, policy: Policy, texts: Texts, kept: Path, config: TuneConfig
) -> Dpo:
    columns = ["session_id", "candidate", "query"]
    told = alignment_tables.read(candidates, "candidates", "candidates", columns).to_pylist()
    queries = {(row["session_id"], row["candidate"]): row["query"] for row in told}
    named = [[(row["session_id"], row[which]) for which in ("chosen", "rejected")] for row in rows]
    distinct = {key: texts.of(key[0], queries[key]) for pair in named for key in pair}
    file = kept / _REFERENCE
    if not file.is_file():
        temporary = file.with_name(f".{file.name}.part.npy")
        np.save(temporary, score(policy, list(distinct.values()), config.micro_tokens))
        temporary.rename(file)
    before = dict(zip(distinct, np.load(file), strict=True))
    scores = np.array([[before[key] for key in pair] for pair in named])  # (n, 2)
    return Dpo([(distinct[chosen], distinct[rejected]) for chosen, rejected in named], scores, config)


def targets(rows: Sequence[Mapping[str, Any]], vectors: Path | None) -> Targets:
    """The vectors of the chosen candidates: rows of Best-of-N's samples.

    Raises:
        ValueError: there are no vectors. DataError: they are not whole, or one is missing.
    """
    if vectors is None:
        raise ValueError("vectors must be given with cl")
    keys, found = vectors_of(vectors, CANDIDATE_QUERIES, ("session_id", "candidate"))
    places = {key: n for n, key in enumerate(keys)}
    wanted = [(row["session_id"], row["candidate"]) for row in rows]
    missing = [key for key in wanted if key not in places]
    if missing:
        raise DataError("a chosen candidate has no vector", file=vectors, field="candidate", value=missing[0])
    chosen = torch.from_numpy(found[[places[key] for key in wanted]])
    return Targets(chosen, [frozenset(row["intents"]) for row in rows])


def standardised(found: Targets, sessions: Path, asked: Path, vectors: Path) -> Targets:
    """Targets in deviations from the candidates' mean, to be compared with states in deviations from that of training's
    sessions. A state that lies at its target is read by a ranker as the candidate was that it rewarded with
    `align.place`.

    Args:
        sessions, asked, vectors: as `run`.
    Raises:
        DataError: a folder is not whole, or there is no vector of a session to train on.
    """
    told = alignment_tables.read(sessions, "session_texts", "sessions", ["session_id", "split"]).to_pylist()
    trained = {row["session_id"] for row in told if row["split"] == "train"}
    names, every = vectors_of(asked, QUERIES, ("session_id",))
    of_training = every[[name in trained for name in names]]
    if not len(of_training):
        raise DataError("has no vector of a session to train on", file=asked)
    origin, scale = map(torch.from_numpy, place_of(of_training))
    _, candidates = vectors_of(vectors, CANDIDATE_QUERIES, ("session_id", "candidate"))
    mean, deviation = map(torch.from_numpy, place_of(candidates))
    apart = ((found.vectors - mean) / deviation).to(found.vectors)
    return replace(found, vectors=apart, origin=origin, scale=scale)
