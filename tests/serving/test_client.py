from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.client import Client, ServingError
from serving.config import ServeConfig
from serving.server import Server

LOWEST = float(np.finfo(np.float32).min)


@pytest.fixture(params=["grpc", "rest"])
def rest(request: pytest.FixtureRequest) -> bool:
    return request.param == "rest"


@pytest.fixture
def client(server, rest: bool) -> Iterator[Client]:
    with Client(server.rest if rest else server.grpc, "catalogue", rest=rest, timeout=30) as client:
        yield client


def test_recommends_the_best_items_the_history_does_not_hold(client: Client) -> None:
    assert client.recommend([["e"], ["a", "d", "nothing"]], 2) == [
        [("d", 8.0), ("c", 6.0)],
        [("e", 10.0), ("c", 6.0)],
    ]


def test_recommends_to_an_empty_history(client: Client) -> None:
    assert client.recommend([[]], 1) == [[("e", 10.0)]]


def test_answers_fewer_items_where_fewer_are_left(client: Client) -> None:
    assert client.recommend([["a", "b", "c", "e"]], 3) == [[("d", 8.0)]]


def test_asks_nothing_for_no_histories(client: Client) -> None:
    assert client.recommend([], 3) == []
    assert client.score([], []) == []
    assert client.embed_user([]).shape == (0, 0)


def test_scores_candidates(client: Client) -> None:
    assert client.score([["a"], ["b"]], [["c"], ["d", "unknown"]]) == [[6.0], [8.0, LOWEST]]


def test_embeds_users(client: Client) -> None:
    embedding = client.embed_user([["a", "b", "unknown"], []])
    np.testing.assert_array_equal(embedding, np.array([[2, 1], [0, 0]], np.float32))


def test_asks_a_given_version(server, rest: bool) -> None:
    with Client(server.rest if rest else server.grpc, "catalogue", version=1, rest=rest) as client:
        assert client.recommend([["e"]], 1) == [[("d", 4.0)]]
        assert [entry["version"] for entry in client.status()] == [1]


def test_tells_the_status_of_every_version(client: Client) -> None:
    assert client.status() == [
        {"version": 2, "state": "AVAILABLE", "code": "OK", "message": ""},
        {"version": 1, "state": "AVAILABLE", "code": "OK", "message": ""},
    ]


def test_names_model_version_and_status_of_a_failure(server, rest: bool) -> None:
    with (
        Client(server.rest if rest else server.grpc, "catalogue", version=7, rest=rest) as client,
        pytest.raises(
            ServingError, match=r"model catalogue \(version 7\): NOT_FOUND: Servable not found"
        ) as error,
    ):
        client.recommend([["a"]], 1)
    assert error.value.code is grpc.StatusCode.NOT_FOUND


def test_refuses_a_k_the_model_does_not_answer(client: Client) -> None:
    with pytest.raises(ValueError, match="k must be at most 3"):
        client.recommend([["a"]], 4)
    with pytest.raises(ValueError, match="k must be at least 1"):
        client.recommend([["a"]], 0)


def test_refuses_candidates_without_a_history(client: Client) -> None:
    with pytest.raises(ValueError, match="2 lists of candidates for 1 histories"):
        client.score([["a"]], [["b"], ["c"]])


def test_keeps_any_id_as_it_is(client: Client) -> None:
    odd = ['"', "\n", "ü", "\x00", " ", "{}", "\U0001f600"]
    np.testing.assert_array_equal(client.embed_user([odd]), [[0, len(odd)]])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_says_unavailable_where_nothing_listens(rest: bool) -> None:
    address = f"127.0.0.1:{free_port()}"
    with Client(address, "catalogue", rest=rest, retries=1) as client, pytest.raises(ServingError) as error:
        client.status()
    assert error.value.code is grpc.StatusCode.UNAVAILABLE


def test_waits_for_a_server_that_comes_up_late(publish, base_path: Path, rest: bool) -> None:
    publish(1)
    port = free_port()
    ports = {"rest_port": port, "grpc_port": 0} if rest else {"grpc_port": port, "rest_port": 0}
    server = Server({"catalogue": base_path}, ServeConfig(**ports))
    starter = threading.Timer(0.2, server.start)
    with Client(f"127.0.0.1:{port}", "catalogue", rest=rest, timeout=60, retries=9) as client:
        starter.start()
        answer = client.recommend([["e"]], 1)
    starter.join()
    server.stop()
    assert answer == [[("d", 4.0)]]


def test_a_call_ends_at_its_deadline(rest: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with (
            Client(address, "catalogue", rest=rest, timeout=0.3) as client,
            pytest.raises(ServingError) as error,
        ):
            client.recommend([["a"]], 1)
        assert time.monotonic() - start < 30
    assert error.value.code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


def test_does_not_import_tensorflow(repository: Path) -> None:
    code = "import sys, serving.client; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, timeout=60).returncode == 0


def test_an_address_has_a_port() -> None:
    with pytest.raises(ValueError, match="address must be host:port, got 'here'"):
        Client("here", "catalogue")
