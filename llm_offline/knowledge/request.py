"""Which batch a message of the trainer belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from llm_offline.knowledge.reasoner import Answer


@dataclass(frozen=True)
class Request:
    """Which part of which batch.

    Attributes:
        step: the trainer's step, whichever worker makes it, from 1.
        part: of ``parts``, from 0: a message holds so many rows.
        version: of the adapter that answered forward; of no meaning in forward.
    """

    step: int
    part: int
    parts: int
    version: int

    @property
    def key(self) -> tuple[int, int]:
        return self.step, self.part


def digest_of(*arrays: np.ndarray) -> bytes:
    """By which a message that is sent again is known."""
    digest = hashlib.sha1(usedforsecurity=False)
    for values in arrays:
        digest.update(np.ascontiguousarray(values).data)
    return digest.digest()


@dataclass
class Held:
    """A forward pass whose backward is to come."""

    digest: bytes
    version: int
    tokens: int
    knowledge: np.ndarray
    answers: list[Answer]
