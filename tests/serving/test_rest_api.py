"""The REST API as an HTTP client sees it: bodies, status codes and TF Serving's error wording."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator

import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PREDICT = "/v1/models/catalogue:predict"


@pytest.fixture(scope="module")
def http(server) -> Iterator[urllib3.HTTPConnectionPool]:
    host, port = server.rest.split(":")
    with urllib3.HTTPConnectionPool(host, int(port), retries=False, timeout=30) as pool:
        yield pool


def post(http: urllib3.HTTPConnectionPool, body: object, path: str = PREDICT) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = http.request("POST", path, body=data)
    return response.status, json.loads(response.data)


def test_predicts_by_row_and_by_column(http) -> None:
    assert post(http, {"instances": [["e", ""], ["e", "d"]]}) == (
        200,
        {
            "predictions": [
                {"items": ["d", "c", "b"], "scores": [8.0, 6.0, 4.0]},
                {"items": ["c", "b", "a"], "scores": [6.0, 4.0, 2.0]},
            ]
        },
    )
    assert post(http, {"inputs": {"history": [["e"]]}}) == (
        200,
        {"outputs": {"items": [["d", "c", "b"]], "scores": [[8.0, 6.0, 4.0]]}},
    )


@pytest.mark.parametrize("path", ["versions/1", "labels/stable", "VERSIONS/1"])
def test_predicts_with_a_version_by_number_or_label(http, path: str) -> None:
    status, answer = post(http, {"instances": [["e"]]}, f"/v1/models/catalogue/{path}:predict")
    assert (status, answer["predictions"][0]["scores"]) == (200, [4.0, 3.0, 2.0])


def test_a_signature_with_one_output_answers_it_without_its_name(http) -> None:
    question = {"signature_name": "embed_user", "instances": [["a", "z"], ["b", "c"]]}
    assert post(http, question) == (200, {"predictions": [[1.0, 1.0], [2.0, 0.0]]})
    question = {"signature_name": "spin", "inputs": 3}
    assert post(http, question) == (200, {"outputs": 3})


def test_classifies_and_regresses_examples(http) -> None:
    examples = [{"x": [1.0, 2.0]}, {"x": [0.5, 4.0]}]
    assert post(http, {"examples": examples}, "/v1/models/scorer:classify") == (
        200,
        {"results": [[["low", 1.0], ["high", 2.0]], [["low", 0.5], ["high", 4.0]]]},
    )
    body = {"signature_name": "regress", "context": {"x": [3.0, 4.0]}, "examples": [{}, examples[0]]}
    assert post(http, body, "/v1/models/scorer/versions/1:regress") == (200, {"results": [7.0, 3.0]})
    assert post(http, {"examples": []}, "/v1/models/scorer:regress")[0] == 400
    status, answer = post(http, {"examples": examples}, "/v1/models/scorer:regress")
    assert (status, answer["error"]) == (400, "Expected one output Tensor.")


def test_a_body_may_be_compressed(http) -> None:
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"instances": [["e"]]}')
    assert http.request("POST", PREDICT, body=body, headers=headers).status == 200
    refused = http.request("POST", PREDICT, body=body[5:], headers=headers)
    assert refused.status == 400
    assert refused.json()["error"].startswith("The request's body is not gzip")
    bomb = gzip.compress(bytes(65 << 20))
    assert http.request("POST", PREDICT, body=bomb, headers=headers).status == 413


def test_bytes_travel_as_base64(http) -> None:
    question = {
        "signature_name": "echo",
        "instances": [{"x": [1, 2.5], "raw_bytes": {"b64": "/wA="}}, {"x": [0, -1], "raw_bytes": "a"}],
    }
    assert post(http, question) == (
        200,
        {
            "predictions": [
                {"raw_bytes": {"b64": "/wA="}, "x": [1.0, 2.5]},
                {"raw_bytes": {"b64": "YQ=="}, "x": [0.0, -1.0]},
            ]
        },
    )


def test_numbers_that_are_not_finite_travel(http) -> None:
    body = b'{"signature_name": "echo", "inputs": {"x": [[NaN, -Infinity]], "raw_bytes": [""]}}'
    response = http.request("POST", PREDICT, body=body)
    assert response.status == 200
    assert b"[[NaN, -Infinity]]" in response.data


def test_tells_the_status_of_a_model(http) -> None:
    def entry(version: str) -> dict:
        return {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}

    response = http.request("GET", "/v1/models/catalogue")
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"model_version_status": [entry("2"), entry("1")]}
    assert http.request("GET", "/v1/models/catalogue/versions/1").json() == {
        "model_version_status": [entry("1")]
    }


def test_tells_the_signatures_of_a_model(http) -> None:
    answer = http.request("GET", "/v1/models/catalogue/labels/stable/metadata").json()
    assert answer["model_spec"] == {"name": "catalogue", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["history"] == {
        "name": "serving_default_history:0",
        "dtype": "DT_STRING",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "-1", "name": ""}],
            "unknown_rank": False,
        },
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models/nothing", 404, "Could not find any versions of model nothing"),
        ("GET", "/v1/models/nothing/metadata", 404, "Servable not found for request: Latest(nothing)"),
        ("GET", "/v1/models/..%2fcatalogue", 404, "Could not find any versions of model ../catalogue"),
        ("GET", "/v1/models/catalogue/versions/7", 404, "Could not find version 7 of model catalogue"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        (
            "GET",
            "/v1/models/catalogue/versions/x",
            400,
            "Malformed request: GET /v1/models/catalogue/versions/x",
        ),
        ("GET", "/v1/models/../catalogue", 400, "Malformed request: GET /v1/models/../catalogue"),
        ("GET", PREDICT, 400, f"Malformed request: GET {PREDICT}"),
        ("POST", "/v1/models/catalogue", 400, "Malformed request: POST /v1/models/catalogue"),
        ("PUT", PREDICT, 400, f"Malformed request: PUT {PREDICT}"),
        ("DELETE", "/v1/models/catalogue", 400, "Malformed request: DELETE /v1/models/catalogue"),
        (
            "GET",
            f"/v1/models/catalogue/versions/{2**63}",
            400,
            f"Failed to convert version: {2**63} to numeric.",
        ),
        (
            "GET",
            f"/v1/models/catalogue/versions/{'9' * 5000}",
            400,
            f"Failed to convert version: {'9' * 5000} to numeric.",
        ),
        ("POST", "/v1/models/catalogue:generate", 400, "Malformed request: POST /v1/models/catalogue:generate"),
    ],
)
def test_refuses_a_path_as_tf_serving_does(http, method: str, path: str, status: int, error: str) -> None:
    response = http.urlopen(method, path, body=b"{}")
    assert (response.status, response.json()) == (status, {"error": error})


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        (PREDICT, b"", 400, "JSON Parse error: The document is empty"),
        (PREDICT, b"{}", 400, "Missing 'inputs' or 'instances' key"),
        (
            "/v1/models/nothing:predict",
            b'{"instances": [1]}',
            404,
            "Servable not found for request: Latest(nothing)",
        ),
        (
            "/v1/models/catalogue/versions/7:predict",
            b'{"instances": [1]}',
            404,
            "Servable not found for request: Specific(catalogue, 7)",
        ),
        (
            "/v1/models/catalogue/labels/canary:predict",
            b'{"instances": [1]}',
            400,
            "Unrecognized servable version label: canary",
        ),
        (
            PREDICT,
            b'{"signature_name": "x", "instances": [1]}',
            400,
            'Serving signature name: "x" not found in signature def',
        ),
        (PREDICT, b'{"inputs": [1]}', 400, "JSON Value: 1 Type: Number is not of expected type: string"),
        (PREDICT, b'{"inputs": ["a"]}', 400, "Tensor history: expected shape [?,?] but got [1]"),
    ],
)
def test_refuses_a_body_as_tf_serving_does(http, path: str, body: bytes, status: int, error: str) -> None:
    assert post(http, body, path) == (status, {"error": error})


def test_a_path_outside_the_api_is_not_found(http) -> None:
    assert http.request("GET", "/").status == 404


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=80) | st.text(max_size=80).map(lambda s: s.encode("utf-8", "replace")))
def test_no_body_breaks_the_server(http, body: bytes) -> None:
    assert post(http, body)[0] == 400


def test_no_request_line_breaks_the_server(server, http) -> None:
    host, port = server.rest.split(":")
    for line in (b"nonsense\r\n\r\n", b"GET /v1/models/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 64):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert http.request("GET", "/v1/models/catalogue").status == 200


def test_counts_requests_for_prometheus(http) -> None:
    post(http, {"instances": [["a"]]})
    post(http, {"instances": [["a"]]}, "/v1/models/made-up:predict")
    response = http.request("GET", "/monitoring/prometheus/metrics")
    lines = response.data.decode().splitlines()
    assert response.headers["content-type"] == "text/plain"
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    counts = [
        line for line in lines if line.startswith(':tensorflow:serving:request_count{model_name="catalogue"')
    ]
    assert any('status="OK"' in line for line in counts)
    assert not any("made-up" in line for line in lines)
