"""The intents a chatbot shows, ranked with what the reasoner wonders about, or without it where that is late."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feature_store.checks import above, require
from serving.client import Client
from serving.exported_ranker import WITH, WITHOUT
from serving.reasoner_client import Query, ReasonerClient

NOBODY = "nobody"
"""What became of the query where no reasoner is to be asked: it is the ranker's that has no query tower."""


@dataclass(frozen=True)
class RankedIntents:
    """What is shown to one session's user.

    Attributes:
        intents: (id, score, cosine of user and intent, cosine of query and intent), best first; the last is 0 without a
            query.
        query: what became of it, a `reasoner_client.Outcome` or `NOBODY`; only with ``answered`` it counts in the
            scores.
        version: of the ranker.
    """

    intents: list[tuple[str, float, float, float]]
    query: str
    version: int | None


class ChatRanking:
    """Ranks within one deadline: the ranker keeps ``reserve_ms`` of it, the reasoner may take what is before.

    Threads may share it. It closes neither of the two.
    """

    def __init__(
        self, client: Client, reasoner: ReasonerClient | None, reserve_ms: float = 50.0, query: str = "query"
    ) -> None:
        """``query`` is what the ranker calls that input, "" where it has no query tower."""
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
        found = self._wondered(context, seconds - self._reserve)
        inputs = dict(features)
        if found.vector is not None:
            inputs[self._query] = found.vector[None]
        signature = WITH if found.vector is not None or not self._query else WITHOUT
        answer = self._client.predict(inputs, signature, timeout=max(deadline - time.monotonic(), 0.001))
        columns = [answer.outputs[name][0].tolist() for name in ("intents", "scores", "user_intent")]
        near = answer.outputs["intent_query"][0].tolist() if self._query else [0.0] * len(columns[0])
        told = [(_text(intent), score, user, query) for intent, score, user, query in zip(*columns, near, strict=True)]
        return RankedIntents(told, found.outcome, answer.version)

    def _wondered(self, context: str, seconds: float) -> Query:
        if self._reasoner is None or not self._query:
            return Query(None, NOBODY)
        return self._reasoner.query(context, min(seconds, self._reasoner.config.deadline_ms / 1000))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
