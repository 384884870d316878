"""Which requests are logged, through every API of a server in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from feature_store import served_log
from feature_store.request_context import HEADER, RequestContext
from serving.config import ServeConfig
from serving.model_config import LoggingConfig, ModelConfig
from serving.predict import SavedModel
from serving.server import Server
from serving.warmup import WARMUP_FILE, replay

CONTEXT = RequestContext(("u1",))


@pytest.fixture
def serve(exported: Path, scorer: Path, tmp_path: Path) -> Iterator:
    """Starts a server of both models; gives it and its stub. It is stopped at the end, or by the test."""
    running: list[tuple[Server, grpc.Channel]] = []

    def start(catalogue: LoggingConfig | None = None, **settings):
        models = [ModelConfig("catalogue", exported, logging=catalogue), ModelConfig("scorer", scorer)]
        server = Server(models, ServeConfig(grpc_port=0, rest_port=0, poll_seconds=0, **settings))
        server.start()
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        running.append((server, channel))
        return server, channel

    yield start
    for server, channel in running:
        channel.close()
        server.stop()


def question() -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec={"name": "catalogue"})
    request.inputs["history"].CopyFrom(tf.make_tensor_proto([["e"]]))
    return request


def post(server: Server, path: str, body: bytes) -> int:
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/{path}"
    return urllib3.request("POST", url, body=body, headers={HEADER: CONTEXT.to_header()}).status


def test_every_api_is_logged_with_its_version_and_context(serve, tmp_path: Path, example) -> None:
    folder = tmp_path / "served"
    server, channel = serve(served_log=str(folder))
    asks = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    said = ((HEADER, CONTEXT.to_header()),)
    scored = {"model_spec": {"name": "scorer"}, "input": {"example_list": {"examples": [example(x=[1, 2])]}}}
    request = question()
    answer = asks.Predict(request, timeout=30, metadata=said)
    asks.Classify(classification_pb2.ClassificationRequest(**scored), timeout=30, metadata=said)
    scored["model_spec"]["signature_name"] = "regress"
    asks.Regress(regression_pb2.RegressionRequest(**scored), timeout=30, metadata=said)
    several = inference_pb2.MultiInferenceRequest(input=scored["input"])
    several.tasks.add(model_spec=scored["model_spec"], method_name="tensorflow/serving/regress")
    asks.MultiInference(several, timeout=30, metadata=said)
    assert post(server, "catalogue:predict", b'{"instances": [["e"], ["a"]]}') == 200
    assert post(server, "scorer:classify", b'{"examples": [{"x": [1.0, 2.0]}]}') == 200
    assert post(server, "scorer:regress", b'{"signature_name": "regress", "examples": [{"x": [1.0, 2.0]}]}') == 200
    assert post(server, "catalogue:predict", b'{"instances": 1}') == 400  # was not answered
    server.stop()

    rows = list(served_log.read(folder))
    assert [(row.api, row.protocol, row.model, row.version, row.signature) for row in rows] == [
        ("Predict", "GRPC", "catalogue", 2, "serving_default"),
        ("Classify", "GRPC", "scorer", 1, "serving_default"),
        ("Regress", "GRPC", "scorer", 1, "regress"),
        ("MultiInference", "GRPC", "scorer", 1, "regress"),
        ("Predict", "REST", "catalogue", 2, "serving_default"),
        ("Classify", "REST", "scorer", 1, "serving_default"),
        ("Regress", "REST", "scorer", 1, "regress"),
    ]
    assert {row.context.user_ids for row in rows} == {("u1",)}
    assert all(row.seconds > 0 for row in rows)
    assert predict_pb2.PredictRequest.FromString(rows[0].request) == request
    assert predict_pb2.PredictResponse.FromString(rows[0].response) == answer
    for name, values in {"history": [["e"], ["a"]]}.items():
        assert rows[4].inputs[name].tolist() == values
    assert rows[4].outputs["items"].tolist() == [["d", "c", "b"], ["e", "d", "c"]]
    assert rows[4].outputs["scores"].tolist() == [[8.0, 6.0, 4.0], [10.0, 8.0, 6.0]]
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(served_log.segments(folder)[0])).as_numpy_iterator()
    ]
    assert logs[1].classify_log.response.result.classifications[0].classes[1].score == 2
    assert logs[2].regress_log.response.result.regressions[0].value == 3


def test_a_segment_is_a_warmup_file(serve, tmp_path: Path, exported: Path, publish) -> None:
    folder = tmp_path / "served"
    server, channel = serve(served_log=str(folder))
    prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(question(), timeout=30)
    server.stop()
    version = publish(1)
    (version / WARMUP_FILE).write_bytes(served_log.segments(folder)[0].read_bytes())
    assert replay(SavedModel(version)) == 1


def test_a_model_s_own_logging_config_goes_before_the_server_s(serve, tmp_path: Path) -> None:
    own, everyone = tmp_path / "own", tmp_path / "all"
    server, channel = serve(LoggingConfig(own), served_log=str(everyone))
    prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(question(), timeout=30)
    assert post(server, "scorer:regress", b'{"signature_name": "regress", "examples": [{"x": [1.0, 2.0]}]}') == 200
    server.stop()
    assert [row.model for row in served_log.read(own)] == ["catalogue"]
    assert [row.model for row in served_log.read(everyone)] == ["scorer"]


def test_a_rate_of_0_logs_nothing_and_a_reload_changes_it(serve, tmp_path: Path, exported: Path) -> None:
    folder = tmp_path / "served"
    server, channel = serve(LoggingConfig(folder, 0.0))
    asks = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    reload = model_management_pb2.ReloadConfigRequest()
    config = reload.config.model_config_list.config.add(
        name="catalogue", base_path=str(exported), model_platform="tensorflow"
    )
    asks.Predict(question(), timeout=30)
    config.logging_config.log_collector_config.filename_prefix = str(folder)
    config.logging_config.sampling_config.sampling_rate = 1
    models.HandleReloadConfigRequest(reload, timeout=60)
    asks.Predict(question(), timeout=30)
    config.ClearField("logging_config")
    models.HandleReloadConfigRequest(reload, timeout=60)  # closes the log
    asks.Predict(question(), timeout=30)
    assert [path.suffix for path in served_log.segments(folder)] == [".tfrecord"]
    assert len(list(served_log.read(folder))) == 1

    config.logging_config.log_collector_config.filename_prefix = "/proc/no/log"
    with pytest.raises(grpc.RpcError, match="the served log's folder cannot be written to"):
        models.HandleReloadConfigRequest(reload, timeout=60)
    config.logging_config.log_collector_config.type = "bigquery"
    with pytest.raises(grpc.RpcError, match="Cannot find LogCollector::Factory for type: bigquery"):
        models.HandleReloadConfigRequest(reload, timeout=60)
    asks.Predict(question(), timeout=30)  # a refused config changes nothing
