"""Reasoners over the tiny language model, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from llm_offline.config import LlmConfig
from llm_offline.knowledge.reasoner import Question, Reasoner
from llm_offline.knowledge.title_vectors import text_of
from llm_offline.language_model import load

TITLES = ["soap", "a comb", "shea butter", "", "pen"]


@pytest.fixture
def settings(tiny_llm) -> Callable[..., LlmConfig]:
    def make(**changes) -> LlmConfig:
        small = {"dtype": "float64", "max_tokens": 12, "batch_tokens": 64, "d": 4, "heads": 2, "rank": 2}
        return LlmConfig(**{"model": str(tiny_llm), **small, **changes})

    return make


@pytest.fixture
def reasoner(settings, tmp_path) -> Callable[..., Reasoner]:
    """Makes one; LoRA's B, which PEFT starts at zero, is random."""
    import torch

    def make(**changes) -> Reasoner:
        config = settings(**changes)
        language_model = load(config)
        made = Reasoner(language_model, text_of(TITLES, language_model, config, tmp_path), config)
        torch.manual_seed(5)
        for name, value in made.trainable().items():
            if "lora_B" in name:
                torch.nn.init.normal_(value, std=0.3)
        return made

    return make


@pytest.fixture
def question() -> Callable[..., Question]:
    """Four users with up to three prompts."""

    def make(rows=slice(None), seed=7) -> Question:
        random = np.random.default_rng(1)
        prompts = random.normal(size=(4, 3, 12))
        mask = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 1]], bool)
        history = np.array([[0, 1, 2], [3, 2, 1], [0, 0, 0], [0, 4, 5]], np.int32)
        return Question(prompts[rows], mask[rows], history[rows], seed)

    return make
