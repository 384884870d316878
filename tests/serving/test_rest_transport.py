"""What goes over the wire to an HTTP server that answers as it is told, without TensorFlow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from serving import errors
from serving.client import Client

VALUES = {"outputs": {"x": [1.5]}}


class Server(ThreadingHTTPServer):
    """Answers with the next (HTTP status, body) of `answers`, then with VALUES; a body of None never ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes | None]] = []
        self.paths: list[str] = []
        self.peers: set[Any] = set()
        self.ended = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.server.peers.add(self.client_address)
        status, body = self.server.answers.pop(0) if self.server.answers else (200, json.dumps(VALUES).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(1 << 20 if body is None else len(body)))
        self.end_headers()
        if body is not None:
            self.wfile.write(body)
        while body is None and not self.server.ended.wait(0.01):
            try:
                self.wfile.write(b" ")
            except OSError:
                return

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(f"127.0.0.1:{server.server_port}", "m", rest=True, timeout=60) as client:
        yield client


def test_calls_and_clients_share_a_connection(server: Server, client: Client) -> None:
    with Client(f"127.0.0.1:{server.server_port}", "n/x", rest=True, label="stable") as other:
        for asks in (client, other, client):
            assert asks.predict({}).outputs["x"].tolist() == [1.5]
    assert len(server.peers) == 1
    assert server.paths == ["/v1/models/m:predict", "/v1/models/n%2Fx/labels/stable:predict", "/v1/models/m:predict"]


@pytest.mark.parametrize("status", [502, 503])
def test_a_call_is_tried_again_after_unavailable(server: Server, client: Client, status: int) -> None:
    server.answers = [(status, b"no upstream")] * 2
    assert client.predict({}).outputs["x"].tolist() == [1.5]
    assert len(server.paths) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "code", "message"),
    [
        ((400, b'{"error": "why"}'), errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT, "why$"),
        ((504, b'{"error": "why"}'), errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED, "why$"),
        ((500, b"<html>"), errors.ServingError, grpc.StatusCode.UNKNOWN, "HTTP 500: <html>"),
        ((200, b"<html>"), errors.ServingError, grpc.StatusCode.INTERNAL, "HTTP 200: <html>"),
        ((200, b"[]"), errors.ServingError, grpc.StatusCode.INTERNAL, r"HTTP 200: \[\]"),
    ],
)
def test_other_failures_are_told_at_once(
    server: Server, client: Client, answer: tuple[int, bytes], kind: type, code: grpc.StatusCode, message: str
) -> None:
    server.answers = [answer]
    with pytest.raises(kind, match=message) as error:
        client.predict({})
    assert (type(error.value), error.value.code) == (kind, code)
    assert len(server.paths) == 1


def test_an_answer_that_never_ends_ends_at_the_deadline(server: Server, client: Client) -> None:
    server.answers = [(200, None)]
    with pytest.raises(errors.DeadlineExceeded):
        client.predict({}, timeout=0.3)
    assert len(server.paths) == 1


def test_an_output_that_is_not_answered_is_told(client: Client) -> None:
    with pytest.raises(errors.InvalidArgument, match="signature s of m answers no output 'y'"):
        client.predict({}, "s", ["y"])


def test_a_signature_s_only_output_gets_its_name_from_the_call(server: Server, client: Client) -> None:
    server.answers = [(200, b'{"outputs": [[1, 2]]}')] * 2
    assert client.predict({}, outputs=["y"]).outputs["y"].tolist() == [[1, 2]]
    assert client.predict({}).outputs["outputs"].tolist() == [[1, 2]]
