from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving import health, tensors
from serving.config import ServeConfig
from serving.server import Server


def check(channel: grpc.Channel, service: str) -> int:
    method = f"/{health.SERVICE}/Check"
    ask = channel.unary_unary(
        method, health.HealthCheckRequest.SerializeToString, health.HealthCheckResponse.FromString
    )
    return ask(health.HealthCheckRequest(service=service), timeout=60).status


def test_its_messages_are_those_of_grpc() -> None:
    assert health.HealthCheckRequest(service="a").SerializeToString() == b"\x0a\x01a"
    assert health.HealthCheckResponse(status=health.SERVING).SerializeToString() == b"\x08\x01"


def test_answers_the_health_check_and_numbers_as_content_where_told_to(exported: Path) -> None:
    told = ServeConfig(
        grpc_port=0, rest_port=0, enable_grpc_healthcheck_service=True, enable_serialization_as_tensor_content=True
    )
    request = predict_pb2.PredictRequest(model_spec={"name": "catalogue"})
    tensors.to_proto(np.array([[b"a"]], object), 7, request.inputs["history"])
    with Server({"catalogue": exported}, told) as server, _channel(server) as channel:
        assert check(channel, "") == check(channel, "tensorflow.serving.PredictionService") == health.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            check(channel, "another")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    scores = answer.outputs["scores"]
    assert scores.tensor_content and not scores.float_val
    assert tensors.from_proto(scores).tolist() == [[10.0, 8.0, 6.0]]
    assert answer.outputs["items"].string_val == [b"e", b"d", b"c"] and not answer.outputs["items"].tensor_content


def test_there_is_no_health_check_where_it_was_not_asked_for(exported: Path) -> None:
    config = ServeConfig(grpc_port=0, rest_port=0)
    server = Server({"catalogue": exported}, config)
    with server, _channel(server) as channel, pytest.raises(grpc.RpcError) as refused:
        check(channel, "")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@contextmanager
def _channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel
