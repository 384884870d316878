"""The server as an operating-system process."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import urllib3
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import Client
from serving.config import ServeConfig
from serving.server import Server, main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(start_server, base_path: Path, publish, number: int) -> None:
    publish(1)
    server = start_server("--model_name=catalogue", f"--model_base_path={base_path}")
    with Client(server.grpc, "catalogue", timeout=30) as client:
        assert client.recommend([["e"]], 1) == [[("d", 4.0)]]
    assert server.stop(number) == 0
    with Client(server.grpc, "catalogue", retries=0) as client, pytest.raises(Exception, match="UNAVAILABLE"):
        client.status()


def spin(channel: grpc.Channel, rounds: int) -> grpc.Future:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "catalogue"
    request.model_spec.signature_name = "spin"
    tensor = request.inputs["rounds"]
    tensor.dtype = 9
    tensor.tensor_shape.SetInParent()
    tensor.int64_val.append(rounds)
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request, timeout=120)


def test_a_request_under_way_is_answered_before_it_ends(start_server, exported: Path) -> None:
    server = start_server("--model_name=catalogue", f"--model_base_path={exported}")
    with grpc.insecure_channel(server.grpc) as channel:
        long = spin(channel, 50_000)
        spin(channel, 1).result()  # sent after it on one connection: once answered, both have arrived
        assert not long.done()
        assert server.stop() == 0
        assert list(long.result().outputs["count"].int64_val) == [50_000]


@pytest.mark.parametrize("rest", [False, True])
def test_no_request_fails_while_a_new_version_rolls_in(
    start_server, base_path: Path, publish, wait_until, rest: bool
) -> None:
    publish(1)
    server = start_server(
        "--model_name=catalogue", f"--model_base_path={base_path}", "--file_system_poll_wait_seconds=0.05"
    )
    address = server.rest if rest else server.grpc
    answers: list[list[float]] = [[] for _ in range(4)]
    failures: list[Exception] = []
    enough = threading.Event()

    def ask(mine: list[float]) -> None:
        with Client(address, "catalogue", rest=rest, retries=0, timeout=60) as client:
            while not enough.is_set():
                try:
                    mine.append(client.recommend([["e"]], 1)[0][0][1])
                except Exception as error:
                    failures.append(error)
                    return

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(mine for mine in answers) or bool(failures))
        publish(2)
        wait_until(lambda: all(mine[-1] == 8.0 for mine in answers) or bool(failures))
        with Client(address, "catalogue", rest=rest) as client:
            wait_until(
                lambda: {s["version"]: s["state"] for s in client.status()} == {1: "END", 2: "AVAILABLE"}
            )
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert not failures
    for mine in answers:
        assert set(mine) == {4.0, 8.0}
        assert mine == sorted(mine)  # never back to the old version


def test_a_broken_version_is_reported_and_the_good_one_stays(
    start_server, base_path: Path, publish, wait_until, exported: Path
) -> None:
    publish(1)
    server = start_server(
        "--model_name=catalogue", f"--model_base_path={base_path}", "--file_system_poll_wait_seconds=0.05"
    )
    scratch = base_path / ".writing"
    shutil.copytree(exported / "2", scratch)
    shutil.rmtree(scratch / "variables")
    scratch.rename(base_path / "2")
    with Client(server.grpc, "catalogue", timeout=30) as client:
        wait_until(lambda: len(client.status()) == 2 and client.status()[0]["state"] == "END")
        newest = client.status()[0]
        assert newest["version"] == 2
        assert newest["code"] != "OK"
        assert str(base_path / "2") in newest["message"]
        assert client.recommend([["e"]], 1) == [[("d", 4.0)]]


def test_serves_a_base_path_from_when_it_has_a_version(base_path: Path, publish, wait_until) -> None:
    config = ServeConfig(grpc_port=0, rest_port=0, poll_seconds=0.05)
    with (
        Server({"catalogue": base_path}, config) as server,
        Client(f"127.0.0.1:{server.rest_port}", "catalogue", rest=True, timeout=30) as client,
    ):
        with pytest.raises(Exception, match="NOT_FOUND: Could not find any versions of model catalogue"):
            client.status()
        publish(2)

        def served() -> bool:
            try:
                return client.status()[0]["state"] == "AVAILABLE"
            except Exception:
                return False

        wait_until(served)
        np.testing.assert_array_equal(client.embed_user([["a"]]), [[1, 0]])


def test_requests_that_come_together_are_run_together(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 2 } batch_timeout_micros { value: 3600000000 }")  # one would wait an hour
    config = ServeConfig(
        grpc_port=0,
        rest_port=0,
        enable_batching=True,
        batching_parameters_file=str(path),
        enable_model_warmup=False,
    )
    with Server({"catalogue": exported}, config) as server, ThreadPoolExecutor(2) as pool:

        def ask(rest: bool) -> list:
            port = server.rest_port if rest else server.grpc_port
            with Client(f"127.0.0.1:{port}", "catalogue", rest=rest, timeout=60) as client:
                return client.recommend([["d" if rest else "e"]], 1)

        grpc_answer, rest_answer = pool.map(ask, [False, True])
        page = urllib3.request("GET", f"http://127.0.0.1:{server.rest_port}/monitoring/prometheus/metrics").data
        with (
            grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
            pytest.raises(grpc.RpcError, match="input tensors must have at least one dimension"),
        ):
            spin(channel, 1).result()
    assert (grpc_answer, rest_answer) == ([[("d", 8.0)]], [[("e", 10.0)]])
    assert b":tensorflow:serving:batching_session:wrapped_run_count{} 1\n" in page


def test_a_version_may_bring_its_own_batching(base_path: Path, publish) -> None:
    (publish(1) / "batching_params.pbtxt").write_text("max_batch_size { value: 1 }")
    settings = {"grpc_port": 0, "rest_port": 0, "enable_batching": True}
    with (
        Server({"catalogue": base_path}, ServeConfig(**settings, enable_per_model_batching_parameters=True)) as server,
        Client(f"127.0.0.1:{server.grpc_port}", "catalogue", timeout=30) as client,
    ):
        assert client.recommend([["e"]], 1) == [[("d", 4.0)]]
        with pytest.raises(Exception, match="Task size 2 is larger than maximum input batch size 1"):
            client.recommend([["e"], ["e"]], 1)


def test_refuses_a_request_that_is_too_large(exported: Path) -> None:
    config = ServeConfig(grpc_port=0, rest_port=0, max_request_bytes=1000)
    with Server({"catalogue": exported}, config) as server:
        for port, rest in ((server.grpc_port, False), (server.rest_port, True)):
            with Client(f"127.0.0.1:{port}", "catalogue", rest=rest, timeout=30) as client:
                with pytest.raises(Exception, match="RESOURCE_EXHAUSTED"):
                    client.recommend([["x" * 2000]], 1)
                assert client.recommend([["e"]], 1) == [[("d", 8.0)]]


@pytest.mark.parametrize("kind", ["grpc_port", "rest_port"])
def test_a_taken_port_is_an_error(base_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"grpc_port": 0, "rest_port": 0, kind: taken.getsockname()[1]}
        with pytest.raises(OSError, match=str(taken.getsockname()[1])):
            Server({"catalogue": base_path}, ServeConfig(**ports)).start()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "give either --model_base_path or --model_config_file"),
        (["--model_base_path=/nowhere/at/all"], 1, "base_path /nowhere/at/all is not a folder"),
        (["--model_config_file=/nowhere.config"], 1, "No such file or directory: '/nowhere.config'"),
        (["--model_base_path=.", "--batching_parameters_file=x"], 1, "without setting server_options.enable_batching"),
        (["--model_base_path=.", "--ssl_config_file=/nowhere"], 1, "No such file or directory: '/nowhere'"),
        (["--model_base_path=.", "--port=99999"], 1, "serve.grpc_port must lie in 0..65535, got 99999"),
    ],
)
def test_says_what_is_wrong_with_its_flags(capsys, flags: list[str], code: int, message: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(flags)
    assert error.value.code == code
    assert message in capsys.readouterr().err


def test_its_flags_are_tf_servings(repository: Path) -> None:
    command = [sys.executable, "-m", "serving.server", "--help"]
    text = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    for flag in (
        "--port",
        "--grpc_socket_path",
        "--ssl_config_file",
        "--rest_api_port",
        "--rest_api_timeout_in_ms",
        "--model_name",
        "--model_base_path",
        "--model_config_file",
        "--model_config_file_poll_wait_seconds",
        "--allow_version_labels_for_unavailable_models",
        "--file_system_poll_wait_seconds",
        "--enable_batching",
        "--batching_parameters_file",
        "--monitoring_config_file",
    ):
        assert flag in text
