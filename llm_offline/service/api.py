"""OpenAI's embeddings interface over a batcher: requests to answers, without any transport.

As vLLM does, it takes ``input`` (texts that are read as they are) or ``messages`` (a conversation in the model's chat
format, ``add_generation_prompt`` adds where the answer would begin). A conversation is also answered in words, by
OpenAI's chat interface: the likeliest ones, one request after the other.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llm_offline.service.batcher import Batcher, Overloaded, TooLate

DEADLINE_HEADER = "x-deadline-ms"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"


class Refused(Exception):
    """A request that cannot be answered, with the status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Metrics:
    """What the service counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        told = {"registry": self.registry}
        self.requests = Counter("antiphon_reasoner_requests", "Requests, by status", ["status"], **told)
        self.seconds = Histogram("antiphon_reasoner_seconds", "From request to answer", buckets=_SECONDS, **told)
        self.waited = Histogram("antiphon_reasoner_waited_seconds", "Until its batch began", buckets=_SECONDS, **told)
        self.batch = Histogram("antiphon_reasoner_batch_size", "Prompts a batch", buckets=_SIZES, **told)
        self.waiting = Gauge("antiphon_reasoner_waiting", "Prompts that wait", **told)

    def of_batch(self, size: int, waits: list[float]) -> None:
        """A batch that begins."""
        self.batch.observe(size)
        for wait in waits:
            self.waited.observe(wait)


class Api:
    """
    Args:
        name: what requests call the model. about: what /health tells besides.
        tokenize: a prompt as `parse_body` gives it to token ids.
        deadline: seconds of a request that names none. write: answers a conversation; None is not done.
    """

    def __init__(
        self, name: str, about: Mapping[str, str], tokenize: Callable[[Any], list[int]], batcher: Batcher,
        metrics: Metrics, deadline: float, write: Callable[[list[dict[str, str]]], str] | None = None,
    ) -> None:  # fmt: skip
        self._name, self._about, self._tokenize = name, dict(about), tokenize
        self._batcher, self._metrics, self._deadline = batcher, metrics, deadline
        self._write, self._writing = write, asyncio.Lock()
        self.draining = False

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answers one request."""
        if path == "/metrics" and method == "GET":
            self._metrics.waiting.set(self._batcher.waiting)
            return Response(200, generate_latest(self._metrics.registry), "text/plain; version=0.0.4")
        if path == "/health" and method == "GET":
            status = "draining" if self.draining else "ok"
            return _json(503 if self.draining else 200, {"status": status, "model": self._name, **self._about})
        if path == "/v1/models" and method == "GET":
            return _json(200, {"object": "list", "data": [{"id": self._name, "object": "model"}]})
        answers = {"/v1/embeddings": self._embed, **({"/v1/chat/completions": self._chat} if self._write else {})}
        if path not in answers:
            return _error(404, f"there is no {path}")
        if method != "POST":
            return _error(405, f"{path} takes POST")
        started = time.monotonic()
        try:
            answer = await answers[path](headers, body, started)
        except Refused as refused:
            answer = _error(refused.status, str(refused))
        self._metrics.requests.labels(str(answer.status)).inc()
        self._metrics.seconds.observe(time.monotonic() - started)
        return answer

    async def _embed(self, headers: Mapping[str, str], body: bytes, started: float) -> Response:
        asked = self._asked(body)
        deadline = started + _seconds(headers.get(DEADLINE_HEADER), self._deadline)
        ids = [self._tokenize(prompt) for prompt in asked.prompts]
        if any(not row for row in ids):
            raise Refused(400, "input: a text has no tokens")
        try:
            futures = [asyncio.wrap_future(self._batcher.submit(row, deadline)) for row in ids]
            vectors = await asyncio.wait_for(asyncio.gather(*futures), deadline - time.monotonic())
        except Overloaded as error:
            raise Refused(503, str(error)) from error
        except (TooLate, TimeoutError) as error:
            raise Refused(504, "no answer within the request's deadline") from error
        data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
        count = sum(map(len, ids))
        usage = {"prompt_tokens": count, "total_tokens": count}
        return _json(200, {"object": "list", "model": self._name, "data": data, "usage": usage})

    async def _chat(self, headers: Mapping[str, str], body: bytes, started: float) -> Response:
        prompt = self._asked(body).prompts[0]
        if isinstance(prompt, str):
            raise Refused(400, "messages: must be given")
        deadline = started + _seconds(headers.get(DEADLINE_HEADER), self._deadline)
        turn = asyncio.ensure_future(self._in_turn(prompt[0], deadline))
        try:  # what is being written is written to its end: the next one's turn comes after it
            text = await asyncio.wait_for(asyncio.shield(turn), deadline - time.monotonic())
        except TimeoutError as error:
            turn.add_done_callback(lambda done: done.exception())  # nobody waits for it any longer
            raise Refused(504, "no answer within the request's deadline") from error
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return _json(200, {"object": "chat.completion", "model": self._name, "choices": [choice]})

    async def _in_turn(self, messages: list[dict[str, str]], deadline: float) -> str:
        async with self._writing:
            if time.monotonic() >= deadline:
                raise TimeoutError
            return await asyncio.get_running_loop().run_in_executor(None, self._write, messages)

    def _asked(self, body: bytes) -> Asked:
        asked = parse_body(body)
        if asked.model != self._name:
            raise Refused(404, f"model: must be {self._name!r}, received {asked.model!r}")
        return asked


@dataclass(frozen=True)
class Asked:
    """A request's model, and its prompts: texts, or one conversation (list) with whether the answer is to begin."""

    model: str
    prompts: list[str | tuple[list[dict[str, str]], bool]]


def parse_body(body: bytes) -> Asked:
    """
    Raises:
        Refused: 400, it is not such a request.
    """
    try:
        asked = json.loads(body)
    except ValueError:
        raise Refused(400, "the body must be JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
        raise Refused(400, "model: must be given, as text")
    if asked.get("encoding_format", "float") != "float":
        raise Refused(400, f"encoding_format: must be 'float', received {asked['encoding_format']!r}")
    if ("input" in asked) == ("messages" in asked):
        raise Refused(400, "one of input and messages must be given")
    if "messages" in asked:
        return Asked(asked["model"], [(_said(asked["messages"]), asked.get("add_generation_prompt") is True)])
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise Refused(400, "input: must be a text or a list of texts")
    return Asked(asked["model"], texts)


def _said(messages: Any) -> list[dict[str, str]]:
    fine = isinstance(messages, list) and messages and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in messages
    )  # fmt: skip
    if not fine:
        raise Refused(400, "messages: must be a list of objects with role and content, both text")
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def _seconds(header: str | None, default: float) -> float:
    if header is None:
        return default
    try:
        milliseconds = float(header)
    except ValueError:
        milliseconds = 0.0
    if not 0 < milliseconds < 1e9:
        raise Refused(400, f"{DEADLINE_HEADER}: must be a number of milliseconds above 0, received {header!r}")
    return milliseconds / 1000


def _json(status: int, content: Any) -> Response:
    return Response(status, json.dumps(content).encode())


def _error(status: int, message: str) -> Response:
    return _json(status, {"error": {"message": message, "code": status}})
