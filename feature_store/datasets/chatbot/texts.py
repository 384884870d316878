"""The texts of the simulated sessions: product titles, carriers' messages, page titles, what people type."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.datasets.chatbot.dictionaries import DICTIONARIES, TRACKING_EVENTS
from feature_store.datasets.chatbot.situations import Situations
from feature_store.datasets.chatbot.users import Columns

Texts = list[str]
_FILE = Path(__file__).with_name("wording.json")


@cache
def wording() -> dict[str, Any]:
    """The words that texts are made of."""
    return json.loads(_FILE.read_text(encoding="utf-8"))


def products(categories: np.ndarray, adjective: np.ndarray, noun: np.ndarray) -> Texts:
    """A title for each category id (n,) by two numbers in [0, 1); "" for category 0."""
    adjectives, nouns = wording()["adjectives"], wording()["products"]
    names = {0: "", **DICTIONARIES["category"]}
    return [
        f"{_pick(adjectives, a)} {_pick(nouns[names[category]], b)}" if category else ""
        for category, a, b in zip(categories.tolist(), adjective.tolist(), noun.tolist(), strict=True)
    ]


def carrier_messages(events: np.ndarray, phrase: np.ndarray, place: np.ndarray) -> Texts:
    """Of events (n,), places in ``TRACKING_EVENTS``, by two numbers in [0, 1)."""
    phrases = [wording()["tracking"][name] for name in TRACKING_EVENTS]
    places = wording()["places"]
    return [
        _pick(phrases[event], a).format(place=_pick(places, b))
        for event, a, b in zip(events.tolist(), phrase.tolist(), place.tolist(), strict=True)
    ]


def page_titles(
    rng: np.random.Generator, situations: Situations, pages: np.ndarray, helps: np.ndarray, owned: Texts
) -> Texts:
    """Of pages (P,): a help page has its intent's title there; others name the product ordered (``owned``, P) half of
    the time, or another."""
    names, words = DICTIONARIES["page"], wording()
    others = products(rng.integers(1, 13, len(pages)), rng.random(len(pages)), rng.random(len(pages)))
    draws = rng.random((len(pages), 3)).tolist()
    titles = []
    for page, help, own, other, (a, b, c) in zip(
        pages.tolist(), helps.tolist(), owned, others, draws, strict=True
    ):
        if help >= 0:
            titles.append(f"Help: {situations.help[help]}")
        else:
            product = own if own and c < 0.5 else other
            titles.append(_pick(words["pages"][names[page]], a).format(product=product, shop=_pick(words["shops"], b)))
    return titles


def said(rng: np.random.Generator, situations: Situations, about: np.ndarray, owned: Texts) -> Texts:
    """What somebody types about each intent (n,), "" where it is -1: one of its wordings, with what people put around.

    Args:
        owned: (n,) the product ordered, "" where there is none.
    """
    words, days = wording(), list(DICTIONARIES["weekday"].values())
    draws = rng.random((len(about), 4)).tolist()
    texts = []
    for intent, product, (a, b, c, d) in zip(about.tolist(), owned, draws, strict=True):
        if intent < 0:
            texts.append("")
            continue
        closer = _pick(words["closers"], c)
        closer = "" if "{product}" in closer and not product else closer
        closer = closer.format(product=product.lower(), weekday=_pick(days, d))
        texts.append(_pick(words["openers"], a) + _pick(situations.says[intent], b) + closer)
    return texts


def _pick(choices: Any, number: float) -> str:
    return choices[int(number * len(choices))]


def of_orders(orders: Columns, which: np.ndarray, events: np.ndarray) -> tuple[Texts, Texts]:
    """Product and carrier's message (S,) of each visit's order; "" where ``which`` is -1."""
    at, none = np.maximum(which, 0), which < 0
    size = len(orders["user"])
    drawn = {n: orders[n][at] if size else np.zeros(len(at)) for n in ("adjective", "noun", "phrase", "place")}
    category = np.where(none, 0, orders["order_category"][at] if size else 0)
    titles = products(category, drawn["adjective"], drawn["noun"])
    return titles, carrier_messages(np.where(none, 0, events), drawn["phrase"], drawn["place"])
