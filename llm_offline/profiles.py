"""A user's semantic profile (ChoirRec section 4.2.1): what is known, verbalised, and what a model makes of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_offline.chat import Prompt
from llm_offline.knowledge.answers import OUTCOMES, Answer, Ask, usable, well_formed, written
from llm_offline.knowledge.texts import read_named
from llm_offline.profile_config import ProfileConfig
from llm_offline.prompts import plain

PARTS = ("Core identity", "Key interests", "Consumption philosophy")
_OF_LAST, _EARLIER, _SOUGHT = "Purchases of the last {:g} days", "Earlier purchases", "Recent searches"
LISTS = re.compile(rf"{_OF_LAST.replace('{:g}', '.+')}|{_EARLIER}|{_SOUGHT}")
"""Names of lines that list what a user bought or searched for."""
BEHAVIOUR = re.compile(rf"{LISTS.pattern}|{'|'.join(PARTS[1:])}")
"""Names of lines that tell what a user does, not who it is."""
_DAY = 86_400_000_000
_WORDS = 2  # that each part has at least
_PART = re.compile(rf"^\W*({'|'.join(PARTS)})\W*:\s*(.*)$", re.IGNORECASE)


def verbalised(
    attributes: Mapping[str, Any],
    purchases: Iterable[tuple[int, Sequence[str]]],
    searches: Iterable[tuple[int, str]],
    end: int,
    config: ProfileConfig,
) -> str:
    """What is known of a user before ``end``, a line for each fact; "" where nothing is. Order of arrival does not
    matter.

    Args:
        attributes: name -> value, None where it is not known. purchases: (time, categories of the item).
        searches: (time, query). Times and ``end`` in microseconds.
    """
    told = [f"{name.replace('_', ' ').capitalize()}: {text}." for name, value in attributes.items()
            if (text := plain(value))]  # fmt: skip
    names = [_OF_LAST.format(days) for days in (config.recent_days, config.medium_days)]
    counts: list[Counter[str]] = [Counter(), Counter(), Counter()]
    for time, categories in purchases:
        days = (end - time) / _DAY
        if days <= 0 or (config.long_days and days > config.long_days):
            continue
        window = 0 if days <= config.recent_days else 1 if days <= config.medium_days else 2
        counts[window].update(filter(None, map(plain, categories)))
    for name, count in zip((*names, _EARLIER), counts, strict=True):
        if count:
            frequent = sorted(count, key=lambda category: (-count[category], category))[: config.categories]
            told.append(f"{name}: {', '.join(f'{category} ({count[category]})' for category in frequent)}.")
    newest = sorted(((time, plain(query)) for time, query in searches if time < end), reverse=True)
    different = list(dict.fromkeys(query for _, query in newest if query))[: config.searches]
    told += [f"{_SOUGHT}: {'; '.join(different)}."] if different else []
    return "\n".join(told)


def prompts(facts: str, config: ProfileConfig) -> list[Prompt]:
    """What is asked of a user: one prompt, or one for each of `PARTS`. Their system part and beginning are the same for
    every user, so that they are computed once a batch."""
    texts = read_named("profiles")
    names, system = (("user",), "system") if config.ask == "together" else (PARTS, "part_system")
    return [Prompt(texts[name].format(noun=config.noun, facts=facts), texts[system]) for name in names]


def parsed(text: str) -> str:
    """The three parts of an answer, a line each; "" where one is missing, says next to nothing or runs in circles."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _PART.match(line.strip()):
            name = next(part for part in PARTS if part.lower() == match[1].lower())
            found.setdefault(name, " ".join(match[2].split()))
    if any(len(re.findall(r"\w+", found.get(name, ""))) < _WORDS for name in PARTS):
        return ""
    lines = [f"{name}: {found[name]}" for name in PARTS]
    return "\n".join(lines) if all(well_formed(line) for line in lines) else ""


def sentence(text: str) -> str:
    """The first whole sentence of an answer; "" where it is malformed (`answers.usable`) or there is none."""
    found = re.match(r".*?[.!?](?=\s|$)", usable(text))
    return found[0] if found and well_formed(found[0]) else ""


def answers(ask: Ask, facts: Sequence[str], config: ProfileConfig) -> list[Answer]:
    """A profile of each user: as written, else as written with more care, else what is known itself."""
    asked = [prompt for fact in facts for prompt in prompts(fact, config)]
    if config.ask == "together":
        return written(ask, asked, facts, parsed)
    found = written(ask, asked, [""] * len(asked), sentence)
    return [_joined(found[n * len(PARTS) : (n + 1) * len(PARTS)], fact) for n, fact in enumerate(facts)]


def _joined(parts: Sequence[Answer], facts: str) -> Answer:
    """The three lines as one profile; what is known where one of them was malformed twice."""
    worst = max((part.outcome for part in parts), key=OUTCOMES.index)
    if worst == "fallback":
        rejected = next(part.rejected for part in parts if part.outcome == "fallback")
        return Answer(facts, "fallback", rejected=rejected)
    return Answer("\n".join(f"{name}: {part.text}" for name, part in zip(PARTS, parts, strict=True)), worst)
