"""Answers of a language model that can be used: cleaned, asked for again where malformed, replaced at worst."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llm_offline.chat import Prompt

Ask = Callable[[Sequence[Prompt]], list[str]]
"""Prompts to answers; `Generator.answer`."""

OUTCOMES = ("first", "retried", "fallback")
_WORDS = 5
_DISTINCT = 0.4  # share of distinct words below which an answer runs in circles


@dataclass(frozen=True)
class Answer:
    """A text, and how it came about.

    Attributes:
        outcome: first (the first answer was well formed), retried (the second, careful one was), fallback (neither
            was: the text is what the model was told).
        verdict: r4ec: the judge's newest, yes | no | unclear; "" where nobody judged.
        rounds: r4ec: times it was written anew.
        rejected: fallback: the second answer as it came.
    """

    text: str
    outcome: str
    verdict: str = ""
    rounds: int = 0
    rejected: str = ""


def clean(text: str) -> str:
    """White space collapsed, and cut after the last whole sentence where there is one."""
    text = " ".join(text.split())
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text)]
    return text[: ends[-1]] if ends else text


def well_formed(text: str) -> bool:
    """Whether it says something: at least 5 words, and no more than 60% of them said before."""
    words = re.findall(r"\w+", text.lower())
    return len(words) >= _WORDS and len(set(words)) >= _DISTINCT * len(words)


def usable(text: str) -> str:
    """The text cleaned, or "" where it is not `well_formed`."""
    found = clean(text)
    return found if well_formed(found) else ""


def written(
    ask: Ask, prompts: Sequence[Prompt], fallbacks: Sequence[str], read: Callable[[str], str] = usable
) -> list[Answer]:
    """A usable answer to each prompt: the first, else a careful second one, else the fallback.

    Args:
        read: what is taken of an answer, "" where it is malformed.
    """
    first = ask(prompts)
    answers = [Answer(read(text), "first") for text in first]
    again = [n for n, answer in enumerate(answers) if not answer.text]
    second = ask([replace(prompts[n], careful=True) for n in again]) if again else []
    for n, said in zip(again, second, strict=True):
        text = read(said)
        answers[n] = Answer(text, "retried") if text else Answer(fallbacks[n], "fallback", rejected=said)
    return answers


def verdict(text: str) -> str:
    """yes | no, the word a judge's reply begins with; else unclear."""
    first = re.match(r"\W*(\w+)", text.lower())
    return first[1] if first and first[1] in ("yes", "no") else "unclear"


def judged(ask: Ask, prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
    """Each prompt's verdict and the reason given; a reply that is unclear is asked for once more."""
    found = [(verdict(text), clean(text)) for text in ask(prompts)]
    again = [n for n, (said, _) in enumerate(found) if said == "unclear"]
    second = ask([replace(prompts[n], careful=True) for n in again]) if again else []
    for n, text in zip(again, second, strict=True):
        found[n] = (verdict(text), clean(text))
    return [(said, re.sub(r"^\W*(yes|no)\b\W*", "", reason, flags=re.IGNORECASE)) for said, reason in found]
