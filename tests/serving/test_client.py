from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving import errors
from serving.client import Client
from serving.config import ServeConfig
from serving.server import Server
from serving.tls import ClientTls

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


def test_asks_a_label(server, rest: bool) -> None:
    with Client(server.rest if rest else server.grpc, "catalogue", label="stable", rest=rest) as client:
        assert client.recommend([["e"]], 1) == [[("d", 4.0)]]


def test_the_answer_names_the_version_that_a_label_or_the_newest_stands_for(server) -> None:
    for label, version in ((None, 2), ("stable", 1)):
        with Client(server.grpc, "catalogue", label=label, timeout=30) as client:
            answer = client.predict({"history": [["e"]]}, outputs=["scores"])
            assert answer.version == version
            assert list(answer.outputs) == ["scores"]
            assert answer.outputs["scores"].tolist() == [[4.0 * version, 3.0 * version, 2.0 * version]]


def test_runs_any_signature_with_arrays_numbers_and_bytes(client: Client) -> None:
    inputs = {"x": np.array([[0.5, 1.0]], np.float32), "raw_bytes": [b"\xff\x00"]}
    outputs = client.predict(inputs, "echo").outputs
    np.testing.assert_array_equal(outputs["x"], np.array([[0.5, 1.0]], np.float32))
    assert outputs["raw_bytes"].tolist() == [b"\xff\x00"]
    assert client.predict({"rounds": 3}, "spin", ["count"]).outputs["count"].tolist() == 3


def test_names_model_version_address_and_status_of_a_failure(server, rest: bool) -> None:
    address = server.rest if rest else server.grpc
    told = rf"model catalogue \(version 7\) at {address}: NOT_FOUND: Servable not found for request: Specific"
    with (
        Client(address, "catalogue", version=7, rest=rest) as client,
        pytest.raises(errors.NotFound, match=told) as error,
    ):
        client.recommend([["a"]], 1)
    assert error.value.code is grpc.StatusCode.NOT_FOUND
    assert error.value.target == errors.Target(address, "catalogue", 7)


def test_an_unknown_label_or_output_is_an_invalid_argument(server, rest: bool) -> None:
    address = server.rest if rest else server.grpc
    with (
        Client(address, "catalogue", label="none", rest=rest) as client,
        pytest.raises(errors.InvalidArgument, match=r"\(label none\) at .*: Unrecognized servable version label: none"),
    ):
        client.recommend([["a"]], 1)
    with Client(address, "catalogue", rest=rest) as client, pytest.raises(errors.InvalidArgument, match="nothing"):
        client.predict({"history": [["a"]]}, outputs=["nothing"])


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
    with Client(address, "catalogue", rest=rest, retries=1) as client, pytest.raises(errors.Unavailable) as error:
        client.status()
    assert error.value.attempts == 2


def test_waits_for_a_server_that_comes_up_late(publish, base_path: Path, rest: bool) -> None:
    publish(1)
    port = free_port()
    ports = {"rest_port": port, "grpc_port": 0} if rest else {"grpc_port": port, "rest_port": 0}
    server = Server({"catalogue": base_path}, ServeConfig(**ports))
    starter = threading.Timer(0.2, server.start)
    with Client(f"127.0.0.1:{port}", "catalogue", rest=rest, timeout=60, retries=100) as client:
        starter.start()
        answer = client.recommend([["e"]], 1)
    starter.join()
    server.stop()
    assert answer == [[("d", 4.0)]]


def test_calls_outlive_a_server_that_is_killed_and_started_again(start_server, exported: Path) -> None:
    ports = {"--port": free_port(), "--rest_api_port": free_port()}
    flags = [f"{name}={port}" for name, port in ports.items()]
    flags += ["--model_name=catalogue", f"--model_base_path={exported}"]
    first = start_server(*flags)
    clients = [
        Client(address, "catalogue", rest=rest, timeout=300, retries=1000)
        for address, rest in ((first.grpc, False), (first.rest, True))
    ]
    for client in clients:
        assert client.recommend([["e"]], 1) == [[("d", 8.0)]]
    first.stop(signal.SIGKILL)
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = [pool.submit(client.recommend, [["e"]], 1) for client in clients]
        start_server(*flags)
        assert [answer.result() for answer in answers] == [[[("d", 8.0)]]] * 2
    for client in clients:
        client.close()


def test_threads_share_a_client(client: Client) -> None:
    def ask(number: int) -> list[list[float]]:
        return client.score([["a"]], [["a", "b", "c", "d", "e"][number % 5 : number % 5 + 1]])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [[[2.0 * (number % 5 + 1)]] for number in range(40)]


def test_a_call_ends_at_its_deadline(rest: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(address, "catalogue", rest=rest, timeout=0.3) as client,
            pytest.raises((errors.DeadlineExceeded, errors.Unavailable)),
        ):
            client.recommend([["a"]], 1)


def test_does_not_import_tensorflow(repository: Path) -> None:
    code = "import sys, serving.client; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, timeout=60).returncode == 0


def test_an_address_has_a_port() -> None:
    with pytest.raises(ValueError, match="address must be host:port, got 'here'"):
        Client("here", "catalogue")


def test_refuses_arguments_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="version and label must not both be given, got 1 and 'stable'"):
        Client("here:1", "catalogue", 1, label="stable")
    with pytest.raises(ValueError, match="tls must be None with rest"):
        Client("here:1", "catalogue", rest=True, tls=ClientTls())
    with pytest.raises(ValueError, match="timeout must be positive, got 0"):
        Client("here:1", "catalogue", timeout=0)
    with Client("here:1", "catalogue") as client, pytest.raises(ValueError, match="timeout must be positive, got -1"):
        client.status(timeout=-1)
