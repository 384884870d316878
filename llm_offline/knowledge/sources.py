"""KAR and R4ec: knowledge that the language model writes, about users and about items, as vectors.

KAR (Xi et al. 2023, section 3.2) asks for a user's preference and for facts of an item, and encodes the answers; the
mixture of experts that adapts the vectors is the recommender's. R4ec (Gu et al. 2025) has the answer judged, and
written anew on the judge's objection. There both models are trained for their parts; here one model plays both as it
is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llm_offline.chat import Prompt
from llm_offline.config import SourceConfig
from llm_offline.embedder import Embedder
from llm_offline.generator import Generator, generation_id
from llm_offline.identity import embedding_id
from llm_offline.knowledge.answers import Answer, Ask, judged, written
from llm_offline.knowledge.texts import read_named


@dataclass(frozen=True)
class Wording:
    """The prompts of one source about one subject.

    Args:
        noun: what the items are called, in the plural. subject: user | item.
    """

    noun: str
    subject: str

    def ask(self, facts: str) -> Prompt:
        return self._prompt(self.subject, "system", facts=facts)

    def judge(self, facts: str, answer: str) -> Prompt:
        return replace(self._prompt("judge", "judge_system", facts=facts, answer=answer), begins=("Yes", "No"))

    def refine(self, facts: str, answer: str, feedback: str) -> Prompt:
        return self._prompt("refine", "system", facts=facts, answer=answer, feedback=feedback)

    @property
    def digest(self) -> str:
        """Eight digits over all that is worded."""
        text = json.dumps([self.noun, self.subject, sorted(read_named("generation").items())])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def _prompt(self, name: str, system: str, **values: str) -> Prompt:
        texts = read_named("generation")
        values["noun"] = self.noun
        return Prompt(texts[name].format(**values), texts[system].format(**values))


def answers(
    ask: Ask, wording: Wording, facts: Sequence[str], iterations: int, begun: Mapping[str, Answer] | None = None
) -> list[Answer]:
    """What is known of each subject, from what the model is told of it.

    Args:
        begun: by what it is told, first answers that are there, so that only the others are asked for.
        iterations: times that an answer may be judged and, on a no, written anew (R4ec); 0 is KAR. A judge that is
            unclear twice lets the answer stand. An answer that is malformed does not replace the one before.
    """
    known = begun or {}
    new = [fact for fact in facts if fact not in known]
    asked = iter(written(ask, [wording.ask(fact) for fact in new], new) if new else [])
    found = [known[fact] if fact in known else next(asked) for fact in facts]
    active = [n for n, answer in enumerate(found) if answer.outcome != "fallback"]
    for _ in range(iterations):
        if not active:
            break
        verdicts = judged(ask, [wording.judge(facts[n], found[n].text) for n in active])
        for n, (said, _) in zip(active, verdicts, strict=True):
            found[n] = replace(found[n], verdict=said)
        reasons = {n: reason for n, (said, reason) in zip(active, verdicts, strict=True) if said == "no"}
        active = list(reasons)
        prompts = [wording.refine(facts[n], found[n].text, reasons[n]) for n in active]
        better = written(ask, prompts, [found[n].text for n in active]) if active else []
        for n, new in zip(active, better, strict=True):
            kept = found[n]
            if new.outcome != "fallback":
                found[n] = replace(kept, text=new.text, outcome=new.outcome, rounds=kept.rounds + 1)
    return found


def written_id(config: SourceConfig, subject: str) -> str:
    """All that a vector depends on but the facts; without loading a model."""
    wording = Wording(config.noun, subject).digest
    kind = config.kind if config.kind == "kar" else f"{config.kind}={config.iterations}"
    return f"{generation_id(config.generate)}/{kind}/wording={wording}/{embedding_id(config.encoder)}"


class Writer:
    """A language model that writes about users or items, and an encoder of what it writes; ``begun`` as of `answers`.

    Raises:
        FileNotFoundError, ValueError: as `language_model.load`.
    """

    def __init__(self, config: SourceConfig, subject: str, begun: Mapping[str, Answer] | None = None) -> None:
        self._wording, self._begun = Wording(config.noun, subject), begun
        self._iterations = config.iterations if config.kind == "r4ec" else 0
        self._generator, self._encoder = Generator(config.generate), Embedder(config.encoder)

    def write(self, facts: Sequence[str]) -> tuple[list[Answer], np.ndarray]:
        """n answers, and their vectors (n, D)."""
        found = answers(self._generator.answer, self._wording, facts, self._iterations, self._begun)
        return found, self._encoder.encode([answer.text for answer in found])
