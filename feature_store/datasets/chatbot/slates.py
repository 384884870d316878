"""What was shown, and what of it was clicked."""

from __future__ import annotations

import numpy as np

from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot.wants import Wants


def slates(rng: np.random.Generator, wants: Wants, config: SimulateConfig) -> tuple[np.ndarray, np.ndarray]:
    """Places of the intents shown, (S, K) in the order of the slate, and whether each was clicked.

    The policy knows the situation, not the pages and words: it draws without replacement from prior^sharpness. A
    visitor looks at position k with probability k^-examination, and clicks on what is looked at: mostly where it is a
    true intent, seldom where it is not.
    """
    n, size = wants.prior.shape
    scores = config.policy_sharpness * np.log(np.maximum(wants.prior, 1e-30)) + rng.gumbel(size=(n, size))
    scores = np.where(wants.available, scores, -np.inf)
    count = min(config.slate, size)
    shown = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    shown = np.take_along_axis(shown, np.argsort(-np.take_along_axis(scores, shown, 1), axis=1), 1)
    true = (shown == wants.first[:, None]) | (shown == wants.second[:, None])
    looked = (np.arange(count) + 1.0) ** -config.examination
    clicked = rng.random((n, count)) < looked * np.where(true, config.relevant_click, config.noise_click)
    return shown, clicked
