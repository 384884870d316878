"""The HTTP server of the REST API and the chatbot: uvicorn on a thread of its own, requests on a pool of threads."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import uvicorn

from feature_store.request_context import HEADER
from serving.config import ServeConfig
from serving.rest_api import Response, error_response

log = logging.getLogger(__name__)

_GZIP = 16 + zlib.MAX_WBITS  # with gzip's header

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Api(Protocol):
    """What answers, on a thread of the pool: `rest_api.RestApi`, `chat_api.ChatApi`."""

    def handle(self, method: str, path: str, body: bytes, context: bytes = b"") -> Response:
        """The response to one request: `path` as sent, without its query."""


class HttpServer:
    """Serves `api` on `config.host`; the port is bound at construction.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, api: Api, config: ServeConfig):
        self._api = api
        self._max_bytes = config.max_request_bytes
        self._max_requests = config.max_requests
        self._requests = 0  # read, waiting or running; only the server's own thread counts
        self._body_seconds = config.rest_timeout_ms / 1000 or None
        threads = config.rest_threads or config.threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rest")
        self._socket = socket.create_server((config.host, config.rest_port), family=_family(config.host))
        self.port: int = self._socket.getsockname()[1]
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                self._serve,
                interface="asgi3",
                lifespan="off",
                ws="none",
                proxy_headers=False,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(config.drain_seconds)),
            )
        )
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, name="rest server", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Takes no new request and waits for those under way, at most `drain_seconds`."""
        self._uvicorn.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._requests += 1
        try:
            response = await self._respond(scope, receive)
        finally:
            self._requests -= 1
        headers = [
            (b"content-type", response.content_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
            *((name.encode(), value.encode()) for name, value in response.headers.items()),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: MutableMapping[str, Any], receive: Receive) -> Response:
        if self._requests > self._max_requests:
            return error_response(429, f"More than {self._max_requests} requests are being answered")
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await self._body(scope, receive)
        except TimeoutError:
            return error_response(408, f"The request's body did not come within {self._body_seconds:g} s")
        except _Refused as refused:
            return refused.response
        path = scope["raw_path"].decode("latin-1")
        loop = asyncio.get_running_loop()
        try:
            context = dict(scope["headers"]).get(HEADER.encode(), b"")
            return await loop.run_in_executor(self._pool, self._api.handle, scope["method"], path, body, context)
        except Exception as error:
            log.exception("%s %s", scope["method"], path)
            return error_response(500, f"{type(error).__name__}: {error}")

    async def _body(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        encoding = dict(scope["headers"]).get(b"content-encoding", b"").lower()
        unpack = zlib.decompressobj(_GZIP) if encoding == b"gzip" else None
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(499, "The client closed the request")
            chunk = message.get("body", b"")
            if unpack is not None:
                try:
                    chunk = unpack.decompress(chunk, self._max_bytes + 1)
                except zlib.error as error:
                    raise _Refused(400, f"The request's body is not gzip: {error}") from error
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise _Refused(413, f"The request's body is larger than {self._max_bytes} bytes")
            more = message.get("more_body", False)
        return b"".join(chunks)


class _Refused(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.response = error_response(status, message)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
