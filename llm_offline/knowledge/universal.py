"""The universal prompts: which sentences a codebook of K soft prompts starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_offline.config import PromptConfig
from llm_offline.knowledge.texts import read_lines

ROWS = 512
"""The largest K."""


@dataclass(frozen=True)
class UniversalPrompt:
    """A sentence, the facet of a user it asks for, and the domain it suits; ``lens`` is 0 for the sentence alone."""

    text: str
    facet: str
    domain: str
    lens: int = 0


def universal_prompts(config: PromptConfig) -> list[UniversalPrompt]:
    """Those of ``prompts/universal.txt`` that suit the domain, then the same seen through each lens.

    A lens (``prompts/lenses.txt``) is a second sentence, so every prompt is another text; with the five lenses there
    are `ROWS` at least.
    """
    kept = [line for line in read_lines("universal") if "any" in (config.domain, line[0]) or line[0] == config.domain]
    plain = [UniversalPrompt(text, facet, domain) for domain, facet, text in kept]
    lenses = [text for (text,) in read_lines("lenses")]
    seen = [
        UniversalPrompt(f"{one.text} {lens}", one.facet, one.domain, number)
        for number, lens in enumerate(lenses, 1)
        for one in plain
    ]
    return [*plain, *seen]


def spread_out(vectors: np.ndarray, first: int, size: int) -> np.ndarray:
    """Farthest-point order (Gonzalez 1985): each next vector is the one least like all before it, by cosine.

    It begins with vector 0; the first ``first`` ones are all taken before any other. Ties go to the lower index.

    Args:
        vectors: (N, D). size: at most N.
    Returns:
        (size,) indices.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = [0]
    nearest = unit @ unit[0]  # (N,) the largest cosine with a vector that was taken
    while len(order) < size:
        nearest[order[-1]] = np.inf
        pool = nearest[:first] if len(order) < first else nearest
        order.append(int(pool.argmin()))
        nearest = np.maximum(nearest, unit @ unit[order[-1]])
    return np.array(order)
