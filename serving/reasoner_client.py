"""What a session's user wonders about, asked of the reasoner's service within a deadline, or of a vLLM server.

A query that is late or cannot be had is no error: the ranker then answers without it (RGAlign-Rec, online inference).
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import urllib3

from feature_store import reasoner_prompt
from feature_store.checks import above, at_least, require
from serving.prometheus import Counter, Histogram, exponential, page

Outcome = Literal["answered", "late", "down", "refused", "malformed", "rested"]


@dataclass(frozen=True)
class ReasonerClientConfig:
    """Where the reasoner is, and how long a request may wait for it."""

    url: str  # OpenAI's interface up to and with /v1
    model: str  # the name it serves the model by; our service's is the adapter's version, which the ranker must fit
    width: int  # of its vectors
    deadline_ms: float = 150.0  # of a query, from the call to the answer
    api_key: str = ""  # the environment variable that holds the key; "" sends none
    parallel: int = 16  # queries under way; further ones are late at once
    failures: int = 5  # in succession, after which nobody is asked for a while
    rest_seconds: float = 1.0  # that while

    def __post_init__(self) -> None:
        ok = self.url.startswith(("http://", "https://"))
        require(ok, "url", "must begin with http:// or https://", self.url)
        require(bool(self.model), "model", "must be given", self.model)
        for name in ("width", "parallel", "failures"):
            at_least(name, getattr(self, name), 1)
        above("deadline_ms", self.deadline_ms, 0)
        at_least("rest_seconds", self.rest_seconds, 0)


@dataclass(frozen=True)
class Query:
    """``vector`` (D,) float32 of length one, or None, and what became of the call."""

    vector: np.ndarray | None
    outcome: Outcome


@dataclass(frozen=True)
class Words:
    """A query in words, "" without one; ``outcome`` is any but ``rested``."""

    text: str
    outcome: Outcome


class ReasonerClient:
    """Thread-safe; connections are kept.

    ``queries`` counts calls by outcome: answered; late (no answer within the deadline); down (nobody there, or 5xx);
    refused (4xx: another model is served, say); malformed; rested (not asked, since ``failures`` calls in succession
    were late or down).
    """

    def __init__(self, config: ReasonerClientConfig) -> None:
        """
        Raises:
            ValueError: the environment variable that is to hold the key is not set.
        """
        self.config = config
        self.queries = Counter("/antiphon/serving/reasoner_queries", ["outcome"])
        self.writings = Counter("/antiphon/serving/reasoner_writings", ["outcome"])
        self.latency = Histogram("/antiphon/serving/reasoner_latency", ["outcome"], exponential(100, 1.8, 24))
        self._url = config.url.rstrip("/")
        self._headers = {"content-type": "application/json"}
        if config.api_key:
            key = os.environ.get(config.api_key)
            require(bool(key), "api_key", "must name an environment variable that is set", config.api_key)
            self._headers["authorization"] = f"Bearer {key}"
        self._pool = urllib3.PoolManager(maxsize=config.parallel, retries=False)
        self._threads = ThreadPoolExecutor(config.parallel, thread_name_prefix="reasoner")
        self._free = threading.Semaphore(config.parallel)
        self._lock = threading.Lock()
        self._failed, self._rests_until = 0, 0.0

    def query(self, context: str, seconds: float | None = None) -> Query:
        """The query of a session's verbalised context; returns within ``seconds``, the config's deadline if None."""
        started = time.monotonic()
        seconds = self.config.deadline_ms / 1000 if seconds is None else seconds
        found = self._asked(context, started + seconds)
        self._remember(found.outcome)
        self.queries.add((found.outcome,))
        self.latency.observe((found.outcome,), (time.monotonic() - started) * 1e6)
        return found

    def write(self, context: str, seconds: float) -> Words:
        """The query written out, for people to read: the ranker reads the state before its first word."""
        found = self._post("chat/completions", context, {"temperature": 0, "seed": 0}, seconds)
        words = Words("", found) if isinstance(found, str) else _words(found)
        self.writings.add((words.outcome,))
        return words

    def metrics(self) -> list[Counter | Histogram]:
        """What it counts."""
        return [self.queries, self.latency, self.writings]

    def page(self) -> str:
        """Everything counted so far in Prometheus's text format."""
        return page(self.metrics())

    def close(self) -> None:
        """Does not wait for what is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    def _asked(self, context: str, deadline: float) -> Query:
        with self._lock:
            if time.monotonic() < self._rests_until:
                return Query(None, "rested")
        left = deadline - time.monotonic()
        if left <= 0 or not self._free.acquire(blocking=False):
            return Query(None, "late")
        # On a thread of its own: a socket's timeout is between bytes, and a server may send one now and then.
        future = self._threads.submit(self._embedded, context, left)
        future.add_done_callback(lambda _: self._free.release())
        try:
            return future.result(deadline - time.monotonic())
        except Late:
            return Query(None, "late")

    def _embedded(self, context: str, seconds: float) -> Query:
        asked = {"add_generation_prompt": True, "encoding_format": "float"}
        found = self._post("embeddings", context, asked, seconds)
        return Query(None, found) if isinstance(found, str) else self._vector(found)

    def _post(self, path: str, context: str, asked: dict[str, Any], seconds: float) -> bytes | str:
        """The answer's body, or what went wrong."""
        said = [
            {"role": "system", "content": reasoner_prompt.SYSTEM},
            {"role": "user", "content": reasoner_prompt.about_session(context)},
        ]
        body = {"model": self.config.model, "messages": said, **asked}
        headers = {**self._headers, "x-deadline-ms": f"{seconds * 1000:.0f}"}
        try:
            timeout, url = urllib3.Timeout(total=seconds), f"{self._url}/{path}"
            answer = self._pool.request("POST", url, body=json.dumps(body), headers=headers, timeout=timeout)
        except urllib3.exceptions.NewConnectionError:  # a kind of timeout to urllib3
            return "down"
        except urllib3.exceptions.TimeoutError:
            return "late"
        except urllib3.exceptions.HTTPError:
            return "down"
        if answer.status != 200:
            return "late" if answer.status in (408, 504) else "down" if answer.status >= 500 else "refused"
        return answer.data

    def _vector(self, body: bytes) -> Query:
        try:
            vector = np.array(json.loads(body)["data"][0]["embedding"], np.float32)
        except (ValueError, KeyError, IndexError, TypeError):
            return Query(None, "malformed")
        if vector.shape != (self.config.width,) or not np.isfinite(vector).all() or not vector.any():
            return Query(None, "malformed")
        return Query(vector / np.linalg.norm(vector), "answered")

    def _remember(self, outcome: str) -> None:
        if outcome == "rested":
            return
        with self._lock:
            self._failed = self._failed + 1 if outcome in ("late", "down") else 0
            if self._failed >= self.config.failures:
                self._failed, self._rests_until = 0, time.monotonic() + self.config.rest_seconds


def _words(body: bytes) -> Words:
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        text = None
    return Words(text.strip(), "answered") if isinstance(text, str) else Words("", "malformed")
