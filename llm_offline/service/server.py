"""The reasoner as an HTTP service: uvicorn in front, one thread that computes batches behind."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import torch
import uvicorn

from llm_offline.alignment.reasoner import beginning, reasoner_id
from llm_offline.alignment_config import ReasonerConfig, ServiceConfig
from llm_offline.chat import Prompt
from llm_offline.embedder import Embedder, as_loaded
from llm_offline.generator import Generator
from llm_offline.language_model import load
from llm_offline.service.api import Api, Metrics, Response
from llm_offline.service.batcher import Batcher

_MAX_BYTES = 1 << 20
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def run(reasoner: ReasonerConfig, adapter: Path | None, config: ServiceConfig) -> None:
    """Serves until the process is told to end; then no new request is taken, and those under way are answered.

    Prints "reasoner ready" with its address once it serves.

    Raises:
        ValueError: the reasoner's vectors are of queries that it writes, which the service does not do.
        OSError: the port is taken.
        FileNotFoundError, DataError: as `Embedder`.
    """
    if reasoner.vector != "states":
        raise ValueError(f"align.reasoner.vector: must be 'states' to be served, received {reasoner.vector!r}")
    if config.threads:
        torch.set_num_threads(config.threads)
    model = Model(reasoner, adapter, config)
    metrics = Metrics()
    wait = config.max_wait_ms / 1000
    batcher = Batcher(model.encode, config.max_batch, wait, config.max_queue, metrics.of_batch)
    name = config.served_name or model.adapter_version
    about = {"model_id": model.model_id, "adapter_version": model.adapter_version, "weights": config.weights}
    api = Api(name, about, model.tokenize, batcher, metrics, config.deadline_ms / 1000, model.write)
    model.encode([model.tokenize("warm")])
    with contextlib.closing(socket.create_server((config.host, config.port))) as listening:
        server = _Server(api, uvicorn.Config(
            _app(api), interface="asgi3", lifespan="off", ws="none", access_log=False, log_config=None,
            server_header=False, timeout_graceful_shutdown=10,
        ))  # fmt: skip
        print(f"reasoner ready {config.host}:{listening.getsockname()[1]} model={name}", flush=True)
        server.run(sockets=[listening])
    batcher.close()


class Model:
    """The reasoner's states of tokenised prompts, and what it writes after them; both by one set of weights.

    ``write`` answers a conversation, or is None where the service does not write.
    """

    def __init__(self, reasoner: ReasonerConfig, adapter: Path | None, config: ServiceConfig) -> None:
        loaded = load(as_loaded(reasoner, config.weights), writes=config.writes, adapter=adapter)
        states = loaded.without_head() if config.writes else loaded
        self._embedder = Embedder(reasoner, weights=config.weights, loaded=states)
        self._embedder.remember(beginning(self._embedder.tokenizer))
        self._generator = Generator(reasoner.writer(), loaded=loaded) if config.writes else None
        self.write = self._write if config.writes else None
        self.adapter_version = self._embedder.adapter_version
        self.model_id = reasoner_id(reasoner)

    def tokenize(self, prompt: str | tuple[list[dict[str, str]], bool]) -> list[int]:
        """A text as it is, or a conversation in the model's chat format."""
        tokenizer = self._embedder.tokenizer
        if isinstance(prompt, str):
            return self._embedder.cut(tokenizer(prompt)["input_ids"])
        messages, begins = prompt
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=begins)
        else:
            text = "".join(f"{message['content']}\n" for message in messages)
        return self._embedder.cut(tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"])

    def encode(self, ids: list[list[int]]) -> list[list[float]]:
        """One vector a prompt."""
        return self._embedder.encode_tokens(ids).tolist()

    def _write(self, messages: list[dict[str, str]]) -> str:
        """The likeliest answer to a conversation, of which the last system and the last user's word count."""
        said = {message["role"]: message["content"] for message in messages}
        return self._generator.answer([Prompt(said.get("user", ""), said.get("system", ""))])[0]


class _Server(uvicorn.Server):
    """Says in its health that it is about to end."""

    def __init__(self, api: Api, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._api = api

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._api.draining = True
        super().handle_exit(sig, frame)


def _app(api: Api) -> Callable[..., Awaitable[None]]:
    async def serve(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            size, more = size + len(chunks[-1]), message.get("more_body", False)
            if size > _MAX_BYTES:
                return await _send(send, Response(413, b'{"error": {"message": "the body is too large", "code": 413}}'))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        await _send(send, await api.handle(scope["method"], scope["path"], headers, b"".join(chunks)))

    return serve


async def _send(send: Send, response: Response) -> None:
    headers = [(b"content-type", response.content_type.encode()), (b"content-length", b"%d" % len(response.body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
