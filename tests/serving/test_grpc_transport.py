"""What goes over the wire to a gRPC server that answers as it is told, without TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from serving import errors, wire
from serving.client import Client

Answer = Callable[[grpc.ServicerContext], Any]


class Server:
    """Answers Predict with the next of `answers`, then with an empty response; `requests` are those that came."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answers: list[Answer] = []
        self.ended = threading.Event()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        predict = grpc.unary_unary_rpc_method_handler(
            self._predict, wire.PredictRequest.FromString, wire.PredictResponse.SerializeToString
        )
        self._grpc.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": predict})]
        )
        self.port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        return self.answers.pop(0)(context) if self.answers else wire.PredictResponse()

    def stop(self) -> None:
        self.ended.set()
        self._grpc.stop(None)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(f"127.0.0.1:{server.port}", "m", timeout=60) as client:
        yield client


def refuse(code: grpc.StatusCode) -> Answer:
    return lambda context: context.abort(code, "why")


def test_a_call_is_tried_again_after_unavailable(server: Server, client: Client) -> None:
    server.answers = [refuse(grpc.StatusCode.UNAVAILABLE)] * 2
    assert client.predict({}).outputs == {}
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidArgument),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ResourceExhausted),
        (grpc.StatusCode.INTERNAL, errors.ServingError),
    ],
)
def test_a_call_is_tried_once_where_another_try_would_be_refused_or_do_harm(
    server: Server, client: Client, code: grpc.StatusCode, kind: type
) -> None:
    server.answers = [refuse(code)]
    with pytest.raises(kind, match=f"{code.name}: why$") as error:
        client.predict({})
    assert type(error.value) is kind
    assert len(server.requests) == 1


def test_a_call_that_runs_into_its_deadline_is_not_tried_again(server: Server, client: Client) -> None:
    server.answers = [lambda context: server.ended.wait(60)]
    with pytest.raises(errors.DeadlineExceeded):
        client.predict({}, timeout=0.3)
    assert len(server.requests) == 1


def test_sends_the_version_or_the_label_and_the_outputs_wanted(server: Server) -> None:
    address = f"127.0.0.1:{server.port}"
    for version, label in ((7, None), (None, "stable"), (None, None)):
        with Client(address, "m", version, label=label, timeout=60) as client, pytest.raises(errors.InvalidArgument):
            client.predict({"x": [1.0]}, "s", ["y"])  # the empty answer has no y
    first, second, third = (request.model_spec for request in server.requests)
    assert (first.version.value, first.version_label) == (7, "")
    assert (second.HasField("version"), second.version_label) == (False, "stable")
    assert (third.HasField("version"), third.version_label) == (False, "")
    assert [(r.model_spec.name, r.model_spec.signature_name, list(r.output_filter)) for r in server.requests] == (
        [("m", "s", ["y"])] * 3
    )


def test_a_server_without_retrieval_says_so(server: Server, client: Client) -> None:
    with pytest.raises(errors.ServingError) as told:
        client.retrieve(np.ones((1, 2)), 1)
    assert told.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_the_version_is_the_one_the_server_says(server: Server, client: Client) -> None:
    server.answers = [lambda _: wire.PredictResponse(model_spec={"version": {"value": 5}})]
    assert client.predict({}).version == 5
    assert client.predict({}).version is None


def test_calls_go_to_every_machine_behind_an_address(server: Server) -> None:
    other = Server()
    try:
        with Client(f"ipv4:127.0.0.1:{server.port},127.0.0.1:{other.port}", "m", timeout=60) as client:
            for _ in range(200):  # a machine is asked once its connection stands
                client.predict({})
        asked = [len(machine.requests) for machine in (server, other)]
        assert min(asked) > 0 and sum(asked) == 200
    finally:
        other.stop()
