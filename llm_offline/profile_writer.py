"""A language model that writes profiles, and the encoder of what it writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from llm_offline.generator import Generator, generation_id
from llm_offline.knowledge.answers import Answer
from llm_offline.knowledge.texts import read_named
from llm_offline.profile_config import ProfileConfig
from llm_offline.profile_vectors import ProfileEmbedder, encoding_id
from llm_offline.profiles import answers


def profile_id(config: ProfileConfig) -> str:
    """All that a profile's vector depends on but what is known of the user; without loading a model."""
    if config.mode == "template":
        return f"template/{encoding_id(config)}"
    worded = json.dumps([config.noun, config.ask, sorted(read_named("profiles").items())])
    digest = hashlib.sha256(worded.encode()).hexdigest()[:8]
    return f"{generation_id(config.writer)}/profile/wording={digest}/{encoding_id(config)}"


class ProfileWriter:
    """Writes profiles and encodes them.

    Raises:
        FileNotFoundError, ValueError: as `language_model.load`.
    """

    def __init__(self, config: ProfileConfig) -> None:
        self._config = config
        self._generator, self._encoder = Generator(config.writer), ProfileEmbedder(config)

    def write(self, facts: Sequence[str]) -> tuple[list[Answer], np.ndarray]:
        """n profiles, and their vectors (n, D)."""
        found = answers(self._generator.answer, facts, self._config)
        return found, self._encoder.encode([answer.text for answer in found])
