"""The intents a chatbot shows, ranked with what the reasoner wonders about, or without it where that is late."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feature_store.checks import above, require
from serving.client import Client
from serving.reasoner_client import ReasonerClient

WITH, WITHOUT = "rank", "rank_without_query"
"""Signatures of an exported ranker (`trainer.tower_export`)."""


@dataclass(frozen=True)
class RankedIntents:
    """What is shown to one session's user.

    Attributes:
        intents: (id, score, cosine of user and intent, cosine of query and intent), best first; the last is 0 without a
            query.
        query: what became of it, one of `reasoner_client.OUTCOMES`; only with ``answered`` it counts in the scores.
        version: of the ranker.
    """

    intents: list[tuple[str, float, float, float]]
    query: str
    version: int | None


class ChatRanking:
    """Ranks within one deadline: the ranker keeps ``reserve_ms`` of it, the reasoner may take what is before.

    Threads may share it. It closes neither of the two.
    """

    def __init__(self, client: Client, reasoner: ReasonerClient, reserve_ms: float = 50.0, query: str = "query"):
        """``query`` is what the ranker calls that input."""
        above("reserve_ms", reserve_ms, 0)
        self._client, self._reasoner, self._reserve, self._query = client, reasoner, reserve_ms / 1000, query

    def rank(self, features: Mapping[str, Any], context: str, seconds: float) -> RankedIntents:
        """The best intents of one session.

        Args:
            features: the ranker's raw inputs but the query, each with a batch of one.
            context: the session in words, as the reasoner reads it.
            seconds: until the answer is needed.
        Raises:
            ValueError: ``seconds`` does not reach for the ranker alone.
            ServingError: as `Client.predict`; the ranker itself is late or down.
        """
        deadline = time.monotonic() + seconds
        require(seconds > self._reserve, "seconds", f"must be above what the ranker keeps ({self._reserve:g})", seconds)
        wait = min(seconds - self._reserve, self._reasoner.config.deadline_ms / 1000)
        found = self._reasoner.query(context, wait)
        inputs = dict(features)
        if found.vector is not None:
            inputs[self._query] = found.vector[None]
        signature = WITHOUT if found.vector is None else WITH
        answer = self._client.predict(inputs, signature, timeout=max(deadline - time.monotonic(), 0.001))
        names = ("intents", "scores", "user_intent", "intent_query")
        rows = zip(*(answer.outputs[name][0].tolist() for name in names), strict=True)
        told = [(_text(intent), score, user, query) for intent, score, user, query in rows]
        return RankedIntents(told, found.outcome, answer.version)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
