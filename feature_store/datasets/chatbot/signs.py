"""What is to be seen of what a visitor wants: pages that were read, words that were typed.

Each page and each text is drawn from the first true intent alone, so that what they tell of it can be computed exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot.dictionaries import DICTIONARIES, code
from feature_store.datasets.chatbot.draws import chance, choose
from feature_store.datasets.chatbot.situations import Situations

PAGES = tuple(word for word in DICTIONARIES["page"].values() if word != "Help article")
_ANY = {"Home": 4, "Search": 3, "Product": 5, "Shop": 1.5, "Cart": 2, "Checkout": 0.7, "Orders": 3, "Order details": 2,
        "Tracking": 1.5, "Return form": 0.3, "Vouchers": 1.2, "Coins and games": 1.2, "Wallet": 0.7, "Account": 0.8,
        "Live": 0.8, "Seller desk": 0.1, "Chat with a shop": 0.8}  # fmt: skip
_BY_CATEGORY: dict[str, dict[str, float]] = {
    "orders": {"Orders": 4, "Order details": 5, "Chat with a shop": 1},
    "payment": {"Checkout": 6, "Cart": 2, "Wallet": 1.5, "Order details": 1},
    "shipping": {"Tracking": 6, "Order details": 3, "Orders": 2},
    "delivery problems": {"Order details": 4, "Tracking": 3, "Return form": 2, "Chat with a shop": 1},
    "returns": {"Return form": 6, "Order details": 3},
    "refunds": {"Return form": 3, "Order details": 3, "Wallet": 2},
    "account": {"Account": 8},
    "safety": {"Account": 3, "Wallet": 2, "Shop": 1.5, "Chat with a shop": 1.5},
    "vouchers": {"Vouchers": 6, "Cart": 2, "Checkout": 1, "Home": 1},
    "coins": {"Coins and games": 8},
    "wallet": {"Wallet": 8},
    "sellers": {"Shop": 3, "Chat with a shop": 3, "Seller desk": 3},
    "products": {"Product": 6, "Search": 2, "Order details": 1},
    "cart": {"Cart": 6, "Checkout": 2},
    "live": {"Live": 8},
    "membership": {"Account": 4, "Vouchers": 2, "Home": 1},
    "technical": {"Home": 3, "Account": 1, "Cart": 1},
    "contact": {"Orders": 2, "Order details": 2, "Account": 1, "Home": 1},
}
"""How often each page is visited by anybody, and by those who want an intent of a category."""
MOST_PAGES = 8


@dataclass(frozen=True)
class Signs:
    """Of S visits with P pages in all, oldest first.

    Attributes:
        offsets: (S + 1,) where each visit's pages begin. pages: (P,) ids of the dictionary "page".
        helps: (P,) the intent whose help page it is; -1 of other pages. minutes: (P,) since then.
        typed: (S,) the intent that words typed before are about; -1 where there are none.
        evidence: (S, N) the logarithm of how likely all this is with each intent, up to a constant of the visit.
    """

    offsets: np.ndarray
    pages: np.ndarray
    helps: np.ndarray
    minutes: np.ndarray
    typed: np.ndarray
    evidence: np.ndarray


def signs(rng: np.random.Generator, situations: Situations, first: np.ndarray, config: SimulateConfig) -> Signs:
    """Draws pages and words of visits that want ``first`` (S,).

    A share ``seen_help`` of the pages is the help page of the intent, or, off topic, of another by popularity. Others
    are such as those who want the intent's category visit, or, with chance ``page_noise``, as anybody does. With chance
    ``told`` something was typed, as often off topic as help pages are.
    """
    n = len(first)
    counts = np.minimum(1 + rng.poisson(3.0, n), MOST_PAGES)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    visit = np.repeat(np.arange(n), counts)
    anybody = np.array([_ANY[page] for page in PAGES])
    anybody = anybody / anybody.sum()
    wanted = np.array([[_BY_CATEGORY[name].get(page, 0.0) for page in PAGES] for name in situations.categories])
    wanted /= wanted.sum(1, keepdims=True)
    chances = config.page_noise * anybody + (1 - config.page_noise) * wanted  # (N, pages)
    is_help = chance(rng, len(visit), config.seen_help)
    about = _about(rng, situations, first[visit], config)
    ordinary = choose(rng, len(visit), chances[first[visit]]) - 1
    numbers = np.array([code("page", page) for page in PAGES])
    told = chance(rng, n, config.told)
    typed = np.where(told, _about(rng, situations, first, config), -1)

    seen = np.zeros((n, len(PAGES)), np.float32)
    np.add.at(seen, (visit[~is_help], ordinary[~is_help]), 1)
    evidence = seen @ np.log(np.maximum(chances, 1e-12)).T.astype(np.float32)
    gain = _gain(situations, config)
    np.add.at(evidence, (visit[is_help], about[is_help]), gain[about[is_help]])
    np.add.at(evidence, (np.flatnonzero(told), typed[told]), gain[typed[told]])

    gaps = rng.exponential(2.5, len(visit))
    total = np.concatenate([[0], np.cumsum(gaps)])
    minutes = np.floor(np.repeat(total[offsets[1:]], counts) - total[:-1])
    return Signs(offsets, np.where(is_help, code("page", "Help article"), numbers[ordinary]),
                 np.where(is_help, about, -1), minutes, typed, evidence)  # fmt: skip


def _about(
    rng: np.random.Generator, situations: Situations, wanted: np.ndarray, config: SimulateConfig
) -> np.ndarray:
    other = choose(rng, len(wanted), situations.popularity) - 1
    return np.where(chance(rng, len(wanted), config.off_topic), other, wanted)


def _gain(situations: Situations, config: SimulateConfig) -> np.ndarray:
    """(N,) what a help page, or words, about an intent add to the evidence for it."""
    off = np.maximum(config.off_topic * situations.popularity, 1e-12)
    return np.log((1 - config.off_topic + off) / off).astype(np.float32)


def posterior(prior: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(S, N) the distribution of the first true intent given all that is to be seen."""
    scores = np.log(np.maximum(prior, 1e-30)) + evidence
    weights = np.exp(scores - scores.max(1, keepdims=True)) * (prior > 0)
    return weights / weights.sum(1, keepdims=True)
