"""Policies over the tiny chat model, and texts for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llm_offline.alignment_config import ReasonerConfig, TuneConfig


@pytest.fixture
def settings(chat_llm) -> Callable[..., ReasonerConfig]:
    def make(**changes) -> ReasonerConfig:
        return ReasonerConfig(**{"model": str(chat_llm), "max_tokens": 1024, "max_new_tokens": 4, **changes})

    return make


@pytest.fixture
def policy(settings):
    """Makes one; LoRA's B, which PEFT starts at zero, is random."""
    import torch

    from llm_offline.alignment.policy import Policy

    def make(dtype="float64", pooling="last", **tune) -> Policy:
        config = TuneConfig(**{"rank": 2, "alpha": 4.0, "dropout": 0.0, **tune})
        made = Policy(settings(dtype=dtype, pooling=pooling), config)
        torch.manual_seed(5)
        for name, value in made.weights().items():
            if "lora_B" in name:
                torch.nn.init.normal_(value, std=0.3)
        return made

    return make


@pytest.fixture
def texts():
    """Six texts of four lengths."""
    import numpy as np

    from llm_offline.alignment.policy import Text

    random = np.random.default_rng(2)

    def some(count):
        return tuple(random.integers(5, 70, count).tolist())

    return [Text(n, some(prompt), some(answer)) for n, (prompt, answer) in
            enumerate([(6, 3), (4, 3), (6, 3), (9, 1), (5, 2), (2, 4)])]  # fmt: skip
