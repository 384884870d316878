"""The HTTP server of the REST API: uvicorn on a thread of its own, requests on a pool of threads."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn

from serving.config import ServeConfig
from serving.rest_api import Response, RestApi, error_response

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HttpServer:
    """Serves `api` on `config.host`; the port is bound at construction.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, api: RestApi, config: ServeConfig):
        self._api = api
        self._max_bytes = config.max_request_bytes
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="rest")
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
        response = await self._respond(scope, receive)
        headers = [
            (b"content-type", response.content_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: MutableMapping[str, Any], receive: Receive) -> Response:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return error_response(499, "The client closed the request")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_bytes:
                return error_response(413, f"The request's body is larger than {self._max_bytes} bytes")
            more = message.get("more_body", False)
        path = scope["raw_path"].decode("latin-1")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._pool, self._api.handle, scope["method"], path, b"".join(chunks)
            )
        except Exception as error:
            log.exception("%s %s", scope["method"], path)
            return error_response(500, f"{type(error).__name__}: {error}")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
