"""The HTTP side of a server, by the bytes on the wire: limits, CORS, the page of metrics."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from mutations import mutated

from serving.config import ServeConfig
from serving.server import Server

BODY = json.dumps({"signature_name": "serving_default", "instances": [["a", "b"], ["c", {"b64": "ZA=="}]]}).encode()
EXAMPLES = b'{"context": {"y": "z"}, "examples": [{"x": [1.5, 2.5]}, {"x": [1e3, NaN]}]}'


@contextlib.contextmanager
def serving(exported: Path, **settings: object) -> Iterator[urllib3.HTTPConnectionPool]:
    config = ServeConfig(grpc_port=0, rest_port=0, poll_seconds=0, **settings)
    with Server({"catalogue": exported}, config) as server:
        yield urllib3.HTTPConnectionPool("127.0.0.1", server.rest_port, retries=False, timeout=30)


def predict(http: urllib3.HTTPConnectionPool, body: bytes = BODY) -> urllib3.BaseHTTPResponse:
    return http.request("POST", "/v1/models/catalogue:predict", body=body)


def test_a_request_ends_when_its_time_is_over(exported: Path) -> None:
    with serving(exported, rest_timeout_ms=500) as http:
        body = b'{"signature_name": "spin", "inputs": 1125899906842624}'
        response = predict(http, body)
        assert (response.status, response.json()) == (504, {"error": "Timed out waiting for notification"})
        assert predict(http).status == 200


def test_a_body_that_does_not_come_is_not_waited_for(exported: Path) -> None:
    with serving(exported, rest_timeout_ms=300) as http, socket.create_connection((http.host, http.port)) as slow:
        slow.settimeout(30)
        slow.sendall(b"POST /v1/models/catalogue:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_more_requests_than_allowed_are_refused(exported: Path) -> None:
    with serving(exported, max_requests=1) as http, socket.create_connection((http.host, http.port)) as first:
        first.settimeout(30)
        first.sendall(b"POST /v1/models/catalogue:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        refused = None
        while refused is None or refused.status == 200:  # the first one may not have been read yet
            refused = http.request("GET", "/v1/models/catalogue")
        assert (refused.status, refused.json()) == (429, {"error": "More than 1 requests are being answered"})
        first.sendall(b"}")
        assert first.recv(4096).startswith(b"HTTP/1.1 400")
        assert predict(http).status == 200


def test_pages_of_any_origin_may_call_where_that_is_asked_for(exported: Path) -> None:
    with serving(exported, rest_cors=True) as http:
        for response in (predict(http), predict(http, b"{}"), http.request("OPTIONS", "/v1/models/catalogue:predict")):
            assert response.headers["access-control-allow-origin"] == "*"
            assert response.headers["access-control-allow-methods"] == "POST, GET"
            assert response.headers["access-control-allow-headers"] == "Content-Type"
    with serving(exported) as http:
        assert "access-control-allow-origin" not in predict(http).headers
        assert http.request("OPTIONS", "/v1/models/catalogue:predict").status == 400


@pytest.mark.parametrize(
    ("config", "path", "status"),
    [
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics", 200),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics", 200),
        ("prometheus_config { enable: false }", "/monitoring/prometheus/metrics", 404),
    ],
)
def test_the_page_of_metrics_is_where_the_monitoring_config_says(
    exported: Path, tmp_path: Path, config: str, path: str, status: int
) -> None:
    (tmp_path / "monitoring.config").write_text(config)
    with serving(exported, monitoring_config_file=str(tmp_path / "monitoring.config")) as http:
        response = http.request("GET", path)
        assert response.status == status
        loads = f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{exported}/2",status="success"}} 1'
        warmups = f':tensorflow:serving:model_warmup_latency_count{{model_path="{exported}/2",status="OK"}} 1'
        assert status != 200 or (loads in response.data.decode() and warmups in response.data.decode())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/catalogue:predict", BODY),
        ("/v1/models/scorer:classify", EXAMPLES),
        ("/v1/models/scorer:regress", EXAMPLES),
    ],
)
def test_no_mutated_request_breaks_the_server(server, path: str, body: bytes) -> None:
    host, port = server.rest.split(":")
    draw = random.Random(0)
    with urllib3.HTTPConnectionPool(host, int(port), retries=False, timeout=60) as http:
        for _ in range(120):
            response = http.request("POST", path, body=mutated(body, draw))
            assert response.status in (200, 400), response.data
        for _ in range(40):
            line = mutated(b"GET /v1/models/catalogue/versions/1/metadata HTTP/1.1\r\nHost: x\r\n\r\n", draw)
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(4096):
                        pass
        assert http.request("GET", "/v1/models/catalogue").status == 200
    assert server.process.poll() is None
