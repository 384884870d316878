"""What each visitor wants: drawn by the rules, the region, the week and the dialogue before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot.draws import chance, choose
from feature_store.datasets.chatbot.regions import tilts
from feature_store.datasets.chatbot.situations import Situations
from feature_store.datasets.chatbot.users import Columns

_FADES = 3.0  # days in which a dialogue's pull falls to 1/e
_SOLVED_PULL = 0.2  # of a dialogue that solved something, against one that did not


@dataclass(frozen=True)
class Wants:
    """Of visits sorted by (user, day).

    Attributes:
        first, second: (S,) places of the true intents; ``second`` is -1 where there is one only.
        before: (S,) the place of what the visit before was about; -1 where there was none.
        prior: (S, N) the distribution that ``first`` was drawn from: all that was known before pages and texts.
        available: (S, N) bool, which intents the base had by then.
    """

    first: np.ndarray
    second: np.ndarray
    before: np.ndarray
    prior: np.ndarray
    available: np.ndarray


def entry_days(situations: Situations, config: SimulateConfig) -> np.ndarray:
    """(N,) the day on which each intent enters the base: -inf, but for a share that comes in the last three weeks."""
    rng = np.random.default_rng([config.seed, 2**31])
    n = len(situations.ids)
    days = np.full(n, -np.inf)
    late = rng.permutation(n)[: round(config.late_share * n)]
    end = 7.0 * config.weeks
    days[late] = rng.uniform(end - 21, end - 3, len(late))
    return days


def wants(
    rng: np.random.Generator,
    situations: Situations,
    columns: Columns,
    user: np.ndarray,
    day: np.ndarray,
    solved: np.ndarray,
    entered: np.ndarray,
    config: SimulateConfig,
) -> Wants:
    """An intent's rate is base · (background + weights of the rules that hold) · region's and week's tilt. With chance
    ``whim`` popularity alone decides. Shortly after a dialogue, and rather if it solved nothing, the visit goes on from
    it with chance ``follow_up``: half of these ask the same again, half what follows from it.

    Args:
        columns: of the visits, as the rules name them. solved: (S,) bool, of each visit's own dialogue.
        entered: (N,) as `entry_days`.
    """
    available = day[:, None] >= entered
    popular = _normalised(situations.popularity * available)
    rates = situations.base * (config.background + situations.intensities(columns))
    rates = _normalised(rates * tilts(situations.categories, columns["region"], day) * available)
    prior = ((1 - config.whim) * rates + config.whim * popular).astype(np.float32)
    n = len(user)
    goes_on = 0.5 * np.eye(len(situations.ids)) + 0.5 * situations.follow
    first, before = np.zeros(n, np.int64), np.full(n, -1)
    rank = np.arange(n) - np.searchsorted(user, user)
    for number in range(rank.max(initial=-1) + 1):
        here = np.flatnonzero(rank == number)
        if number:
            last = first[here - 1]
            gone = day[here] - day[here - 1]
            pull = config.follow_up * np.exp(-gone / _FADES) * np.where(solved[here - 1], _SOLVED_PULL, 1.0)
            after = _normalised(goes_on[last] * available[here])
            prior[here] = (1 - pull)[:, None] * prior[here] + pull[:, None] * after
            before[here] = last
        first[here] = choose(rng, len(here), prior[here]) - 1
    along = situations.follow[first] * available
    has = chance(rng, n, config.second) & (along.sum(1) > 0)
    second = np.where(has, choose(rng, n, along + 1e-12) - 1, -1)
    return Wants(first, second, before, prior, available)


def membership(
    situations: Situations, config: SimulateConfig, posterior: np.ndarray, available: np.ndarray
) -> np.ndarray:
    """(S, N) the chance of each intent to be one of the true ones, of a distribution over the first (S, N)."""
    possible = available @ situations.follow.T  # (S, N), how much of each row is in the base by then
    spread = np.divide(posterior, possible, out=np.zeros_like(possible), where=possible > 0)
    return posterior + config.second * (spread @ situations.follow) * available


def _normalised(weights: np.ndarray) -> np.ndarray:
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total > 0, total, 1)
