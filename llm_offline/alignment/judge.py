"""Intent hit rate (RGAlign-Rec §5.1): whether what the user truly wanted was among the first that were shown."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from llm_offline.chat import Prompt

SYSTEM = "You read a help desk's dialogues and tell what the customer wanted. You answer with JSON alone."


_BATCH = 64
"""Sessions that a judge is asked about at once: a run that is stopped loses one batch."""


@dataclass(frozen=True)
class Case:
    """A session to judge: who wants to know which intents are true, and what there is to tell it from.

    Attributes:
        shown: the intents that were recommended, the first first.
        transcript: what was said, with the chatbot and with agents.
        truth: the true intents, where they are known: a simulator's, or an annotator's.
    """

    session_id: str
    shown: tuple[str, ...]
    transcript: str = ""
    truth: frozenset[str] = frozenset()


class Judge(Protocol):
    def true_intents(self, cases: Sequence[Case]) -> list[frozenset[str] | None]:
        """Of each case; None where the judge cannot tell."""
        ...


class ByTruth:
    """The rule: what the simulator or an annotator says; a case without is one that cannot be told."""

    def true_intents(self, cases: Sequence[Case]) -> list[frozenset[str] | None]:
        """See `Judge`."""
        return [case.truth or None for case in cases]


class ByModel:
    """A language model reads the transcript and chooses from the base, as the paper's judge did.

    Args:
        model: has ``answer(prompts)``: an `endpoint.Endpoint` or a `generator.Generator`.
        titles: the intents' titles by id, in the order they are told.
        most: intents of a session, at most.
    """

    def __init__(self, model: Any, titles: Mapping[str, str], most: int = 2) -> None:
        self._model, self._titles, self._most = model, dict(titles), most

    def true_intents(self, cases: Sequence[Case]) -> list[frozenset[str] | None]:
        """See `Judge`; an answer that names no intent of the base, or a session without a transcript, cannot be told.

        Raises:
            EndpointError: the model does not answer.
        """
        told = [n for n, case in enumerate(cases) if case.transcript.strip()]
        answers = self._model.answer([self._prompt(cases[n]) for n in told])
        found: list[frozenset[str] | None] = [None] * len(cases)
        for n, answer in zip(told, answers, strict=True):
            found[n] = self._parsed(answer)
        return found

    def _prompt(self, case: Case) -> Prompt:
        base = "\n".join(f"{intent}: {title}" for intent, title in self._titles.items())
        return Prompt(
            f"These are the questions our help desk answers, by their ids:\n{base}\n\n"
            f"This was said:\n{case.transcript}\n\n"
            f"Which of the questions, at most {self._most}, did the customer truly have? "
            'Answer as {"intents": ["id", ...]}, with an empty list where none fits.',
            SYSTEM,
        )

    def _parsed(self, answer: str) -> frozenset[str] | None:
        match = re.search(r"\{.*\}", answer, re.S)
        try:
            named = json.loads(match.group())["intents"] if match else None
        except (ValueError, KeyError, TypeError):
            return None
        if not isinstance(named, list):
            return None
        known = [intent for intent in named if isinstance(intent, str) and intent in self._titles]
        return frozenset(known[: self._most]) or None


class Remembered:
    """A judge's answers, kept in ``file`` batch by batch: what it was asked once it is not asked again."""

    def __init__(self, judge: Judge, file: Path, source: str) -> None:
        """``source`` is all that an answer depends on but the session and its transcript."""
        self._judge, self._file, self._source = judge, file, source
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        whole = [json.loads(line) for line in lines if line.endswith("}")]  # the last may have been cut short
        self._known = {row["asked"]: row["intents"] for row in whole}

    def true_intents(self, cases: Sequence[Case]) -> list[frozenset[str] | None]:
        """See `Judge`; errors are those of the judge that answers."""
        keys = [self._key(case) for case in cases]
        asked = [n for n, key in enumerate(keys) if key not in self._known]
        with tqdm(total=len(asked), desc="judge", unit="session", disable=not asked) as bar:
            for start in range(0, len(asked), _BATCH):
                batch = asked[start : start + _BATCH]
                answers = self._judge.true_intents([cases[n] for n in batch])
                self._keep({keys[n]: answer for n, answer in zip(batch, answers, strict=True)})
                bar.update(len(batch))
        return [None if (found := self._known[key]) is None else frozenset(found) for key in keys]

    def _key(self, case: Case) -> str:
        told = "\0".join((self._source, case.session_id, case.transcript))
        return hashlib.sha256(told.encode()).hexdigest()

    def _keep(self, answers: Mapping[str, frozenset[str] | None]) -> None:
        rows = {key: None if found is None else sorted(found) for key, found in answers.items()}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.writelines(f"\n{json.dumps({'asked': key, 'intents': found})}" for key, found in rows.items())
        self._known.update(rows)


def hit_rate(cases: Sequence[Case], judge: Judge, k: int = 3) -> dict[str, float]:
    """IHR = the share of judged sessions with a true intent among the first ``k`` shown, and how many were judged.

    A session that the judge cannot tell is in neither number of the share; they are counted.
    """
    counts: Counter[str] = Counter()
    for case, true in zip(cases, judge.true_intents(cases), strict=True):
        outcome = "unknown" if true is None else "hit" if true & set(case.shown[:k]) else "miss"
        counts[outcome] += 1
    judged = counts["hit"] + counts["miss"]
    rate = counts["hit"] / judged if judged else float("nan")
    return {"intent_hit_rate": rate, "judged": judged, "unknown": counts["unknown"]}
