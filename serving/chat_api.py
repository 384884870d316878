"""The chatbot's endpoint: a session, or a user and where the chat was opened, in; the best intents and why, out.

    POST /v1/chatbot:rank    {"user": "u1", "entry_point": 3} or {"session": {…}}, and deadline_ms, top
    POST /v1/chatbot:wonder  the same session; the query in words, which takes the reasoner longer than a deadline
    GET  /v1/chatbot         what may be asked: entry points, the features of a session
    GET  /health             and `serving.metrics.PATH`
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from feature_store import request_inputs, session_input
from feature_store.checks import require
from feature_store.latest_sessions import LatestSessions
from feature_store.session_schema import INTENTS, SessionSchema
from feature_store.verbalise import Verbaliser
from serving import json_tensors
from serving.chat_ranking import NOBODY, ChatRanking, RankedIntents
from serving.config import ChatbotConfig
from serving.errors import ServingError
from serving.exported_ranker import WITH, WITHOUT, ExportedRanker
from serving.metrics import PATH
from serving.prometheus import Counter, Histogram, exponential, page
from serving.reasoner_client import ReasonerClient
from serving.rest_api import Response, error_response
from serving.status import HTTP_STATUS, StatusError, invalid_argument, not_found

log = logging.getLogger(__name__)

MAX_TOP = 20
_FIELDS = ("user", "entry_point", "session", "deadline_ms", "top")
_FAILED = {grpc.StatusCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
           grpc.StatusCode.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
           grpc.StatusCode.RESOURCE_EXHAUSTED: grpc.StatusCode.UNAVAILABLE}  # fmt: skip
"""What the ranker failed with -> what the client is told; else the fault is ours."""


@dataclass(frozen=True)
class ChatParts:
    """
    Attributes:
        sessions: of the run, with the schema. titles: the knowledge base's, by intent id.
        entry_points: of `entry_points`. ready: whether the ranker answers.
    """

    ranker: ExportedRanker
    ranking: ChatRanking
    reasoner: ReasonerClient | None
    sessions: LatestSessions
    verbaliser: Verbaliser
    titles: Mapping[str, str]
    entry_points: Mapping[int, str]
    ready: Callable[[], bool]


def entry_points(schema: SessionSchema, name: str) -> Mapping[int, str]:
    """The words for the ids of the feature ``name``, which a request may give beside a user; none where it is "".

    Raises:
        ValueError: the schema has no such feature, or it is not one id with words.
    """
    if not name:
        return {}
    feature = schema.feature(name)
    fine = feature.kind == "id" and feature.dictionary != INTENTS
    require(fine, "chatbot.entry_point", "must be a feature that is one id with words", name)
    return schema.dictionaries[feature.dictionary]


class ChatApi:
    """Answers HTTP requests; knows nothing of sockets.

    Args:
        pages: what else is there, by path.
    """

    def __init__(self, parts: ChatParts, config: ChatbotConfig, pages: Mapping[str, Response]) -> None:
        self._parts, self._config, self._pages = parts, config, pages
        self.requests = Counter("/antiphon/serving/chatbot_requests", ["method", "status"])
        self.rankings = Counter("/antiphon/serving/chatbot_rankings", ["signature"])
        self.latency = Histogram("/antiphon/serving/chatbot_latency", ["signature"], exponential(100, 1.8, 24))
        self._writers = threading.Semaphore(max(1, config.threads // 4))  # the other threads are left to `rank`
        self._methods = {"/v1/chatbot:rank": self.rank, "/v1/chatbot:wonder": self.wonder}

    def handle(self, method: str, path: str, body: bytes, context: bytes = b"") -> Response:
        """The response to one request: `path` as sent, without its query."""
        started = time.monotonic()
        if path in self._methods:
            answer = self._answer(method, path, body, started)
            self.requests.add((path.partition(":")[2], str(answer.status)))
            return answer
        there = {PATH: self._metrics, "/health": self._health, "/v1/chatbot": self._about}
        if path not in there and path not in self._pages:
            return error_response(404, f"There is no {path[:200]}")
        if method != "GET":
            return error_response(405, f"{path} takes GET", {"allow": "GET"})
        return self._pages[path] if path in self._pages else there[path]()

    def rank(self, asked: dict[str, Any], started: float) -> dict[str, Any]:
        """
        Raises:
            ValueError: a field of the request breaks its rule. StatusError: there is no such user.
            ServingError: the ranker is late or down.
        """
        config, ranker = self._config, self._parts.ranker
        milliseconds = _number(asked, "deadline_ms", config.deadline_ms)
        require(milliseconds <= config.max_deadline_ms, "deadline_ms", f"must be at most {config.max_deadline_ms:g}",
                milliseconds)  # fmt: skip
        require(milliseconds > config.reserve_ms, "deadline_ms",
                f"must be above what the ranker keeps ({config.reserve_ms:g})", milliseconds)  # fmt: skip
        top = asked.get("top", config.top)
        require(type(top) is int and 1 <= top <= MAX_TOP, "top", f"must be a whole number from 1 to {MAX_TOP}",
                str(top)[:60])  # fmt: skip
        row, about = self._session(asked)
        words = self._parts.verbaliser.render(row)
        inputs = request_inputs.inputs(row, ranker.features)
        seconds = started + milliseconds / 1000 - time.monotonic()
        if seconds <= config.reserve_ms / 1000:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "The time was over before the ranker was asked")
        found = self._parts.ranking.rank(inputs, words, seconds)
        taken = time.monotonic() - started
        signature = WITHOUT if ranker.query and found.query != "answered" else WITH
        self.rankings.add((signature,))
        self.latency.observe((signature,), taken * 1e6)
        return {**self._told(found, top), **about, "context": words, "milliseconds": round(taken * 1000, 2)}

    def wonder(self, asked: dict[str, Any], started: float) -> dict[str, Any]:
        """
        Raises:
            ValueError, StatusError: as `rank`; or as many queries are being written out as may be.
        """
        words = self._parts.verbaliser.render(self._session(asked)[0])
        if self._parts.reasoner is None:
            return {"query": "", "outcome": NOBODY, "context": words}
        if not self._writers.acquire(blocking=False):
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "As many queries are being written out as may be")
        try:
            found = self._parts.reasoner.write(words, self._config.write_seconds)
        finally:
            self._writers.release()
        return {"query": found.text, "outcome": found.outcome, "context": words}

    def _answer(self, method: str, path: str, body: bytes, started: float) -> Response:
        if method != "POST":
            return error_response(405, f"{path} takes POST", {"allow": "POST"})
        try:
            asked = json_tensors.parse(body)
            for name in asked:
                require(name in _FIELDS, "a field", f"must be one of {', '.join(_FIELDS)}", name[:60])
            return _json(self._methods[path](asked, started))
        except StatusError as error:
            return error_response(HTTP_STATUS[error.code], error.message)
        except ServingError as error:
            log.warning("%s", error)
            code = _FAILED.get(error.code, grpc.StatusCode.INTERNAL)
            return error_response(HTTP_STATUS[code], f"The ranker did not answer: {error.code.name}: {error.message}")
        except ValueError as error:
            return error_response(HTTP_STATUS[grpc.StatusCode.INVALID_ARGUMENT], str(error))

    def _session(self, asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The features' values, and what the answer says of where they are from."""
        sessions = self._parts.sessions
        if ("user" in asked) == ("session" in asked):
            raise invalid_argument("One of user and session must be given")
        if "session" in asked:
            require("entry_point" not in asked, "entry_point", "must be given in the session", "both")
            return session_input.row(asked["session"], sessions.schema), {}
        user = asked["user"]
        require(isinstance(user, str), "user", "must be a user's id, as text", type(user).__name__)
        try:
            row, when = sessions.of(user)
        except KeyError:
            raise not_found(f"There is no session of user {user[:200]!r}") from None
        if "entry_point" in asked:
            given = asked["entry_point"]
            known = self._parts.entry_points
            rule = f"must be one of {', '.join(map(str, known))}" if known else "must be left out"
            require(type(given) is int and given in known, "entry_point", rule, str(given)[:60])
            row[self._config.entry_point] = given
        return row, {"known_since": when.isoformat()}

    def _told(self, found: RankedIntents, top: int) -> dict[str, Any]:
        """An answer's intents, best first, with the parts of Eq. 4: score ∝ ω cos(z_u, z_i) + (1 − ω) cos(z_i, z_q)."""
        omega = self._parts.ranker.omega
        told = [
            {"intent": intent, "title": self._parts.titles.get(intent, intent), "score": round(score, 6),
             "user_intent": round(user, 6), "intent_query": round(query, 6)}
            for intent, score, user, query in found.intents[:top]
        ]  # fmt: skip
        weights = {"user_intent": omega, "intent_query": round(1 - omega, 6)}
        ranker = {"model": self._parts.ranker.model, "version": found.version or self._parts.ranker.version}
        return {"intents": told, "weights": weights, "query": found.query, "ranker": ranker}

    def _about(self) -> Response:
        schema = self._parts.sessions.schema
        features = {each.name: each.kind for each in schema.features}
        return _json({"users": len(self._parts.sessions.users), "entry_points": self._parts.entry_points,
                      "features": features})  # fmt: skip

    def _health(self) -> Response:
        ranker, reasoner = self._parts.ranker, self._parts.reasoner
        well = self._parts.ready()
        told = {"status": "ok" if well else "the ranker does not answer", "ranker": ranker.model,
                "reasoner": reasoner.config.model if reasoner else ""}  # fmt: skip
        return _json(told, 200 if well else 503)

    def _metrics(self) -> Response:
        own = [self.requests, self.rankings, self.latency]
        more = self._parts.reasoner.metrics() if self._parts.reasoner else []
        return Response(200, "text/plain", page([*own, *more]).encode())


def _number(asked: dict[str, Any], name: str, default: float) -> float:
    value = asked.get(name, default)
    fine = isinstance(value, int | float) and not isinstance(value, bool)
    require(fine, name, "must be a number", str(value)[:60])
    return value


def _json(content: Any, status: int = 200) -> Response:
    return Response(status, "application/json", json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
