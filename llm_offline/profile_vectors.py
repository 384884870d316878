"""Vectors of profiles: of the whole text, or of the facts that it lists (ChoirRec section 4.2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from llm_offline.embedder import Embedder
from llm_offline.identity import embedding_id
from llm_offline.profile_config import ProfileConfig
from llm_offline.profiles import BEHAVIOUR, LISTS

_LINE = re.compile(r"([^:]+): (.*)")
_COUNTED = re.compile(r"(.*) \((\d+)\)")
_KEPT = 1 << 16  # texts whose vectors a process keeps, 96 MiB of MiniLM's


class Fact(NamedTuple):
    """``text`` less ``bare``, what the text has in common with all of its kind, is what is said of the user."""

    behaviour: bool  # what the user did or wants, else who the user is
    text: str
    bare: str
    weight: float = 1.0


def facts(text: str, noun: str) -> list[Fact]:
    """What a profile says, a line "name: value" at a time; a list's entries apart, each with the logarithm of one more
    than its count. Of a line the name alone is bare, of an entry ``noun``."""
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        name, value = match.groups() if match else ("", line)
        if LISTS.fullmatch(name):
            for entry in filter(None, re.split(r", |; ", value.removesuffix("."))):
                counted = _COUNTED.fullmatch(entry)
                what, count = (counted[1], int(counted[2])) if counted else (entry, 1)
                found.append(Fact(True, what, noun, float(np.log1p(count))))
        else:
            found.append(Fact(bool(BEHAVIOUR.fullmatch(name)), line, f"{name}:" if match else noun))
    return found


class ProfileEmbedder:
    """The text encoder of profiles.

    A small encoder's vector of a whole profile is mostly the form of its text. With ``encode: facts`` each fact is
    encoded by itself, less what is there without the user; those of who the user is and those of what it did are summed
    apart, each sum brought to length 1 (or zero where nothing is known), one after the other.

    Raises:
        FileNotFoundError, ValueError: as `Embedder`.
    """

    def __init__(self, config: ProfileConfig) -> None:
        self._encoder, self._config = Embedder(config.encoder), config
        self._known: dict[str, np.ndarray] = {}

    @property
    def width(self) -> int:
        """D of a vector."""
        return self._encoder.width * (2 if self._config.encode == "facts" else 1)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """n profiles -> (n, D) float32."""
        if self._config.encode == "whole":
            return self._encoder.encode(texts)
        told = [facts(text, self._config.noun) for text in texts]
        vectors = self._vectors(part for found in told for fact in found for part in (fact.text, fact.bare))
        sums = np.zeros((len(texts), 2, self._encoder.width), np.float32)
        for row, found in zip(sums, told, strict=True):
            for fact in found:
                row[int(fact.behaviour)] += fact.weight * (vectors[fact.text] - vectors[fact.bare])
        lengths = np.linalg.norm(sums, axis=2, keepdims=True)
        return np.divide(sums, lengths, out=sums, where=lengths > 0).reshape(len(texts), -1)

    def _vectors(self, texts: Iterable[str]) -> dict[str, np.ndarray]:
        """At least those of ``texts``: most facts are many users'."""
        wanted = dict.fromkeys(texts)
        if len(self._known) > _KEPT:
            self._known = {}
        new = [text for text in wanted if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return self._known


def encoding_id(config: ProfileConfig) -> str:
    """How a profile's text becomes a vector; without loading the model."""
    return f"{f'facts of {config.noun}/' if config.encode == 'facts' else ''}{embedding_id(config.encoder)}"
