"""What a server serves, changed while it runs: through HandleReloadConfigRequest, as an operator does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.config import ServeConfig
from serving.model_config import ModelConfig
from serving.registry import ModelRegistry
from serving.server import Server
from serving.status import StatusError


def question(**spec: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec={"name": "catalogue", **spec})
    request.inputs["history"].CopyFrom(tf.make_tensor_proto([["e"]]))
    return request


def reload(models, *configs: dict) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    for config in configs:
        request.config.model_config_list.config.add(model_platform="tensorflow", **config)
    assert models.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0


@pytest.fixture
def own_server(exported) -> Iterator[tuple]:
    """A server of this process, for tests that change what it serves: its two stubs."""
    config = ServeConfig(grpc_port=0, rest_port=0)
    with (
        Server({"catalogue": exported}, config) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        predictor = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield predictor, model_service_pb2_grpc.ModelServiceStub(channel)


def test_a_reloaded_config_replaces_the_models(own_server, base_path, publish) -> None:
    predictor, models = own_server
    publish(1)
    other = {"name": "other", "base_path": str(base_path)}
    reload(models, other)
    with pytest.raises(grpc.RpcError, match="Servable not found for request: Latest\\(catalogue\\)"):
        predictor.Predict(question(), timeout=30)
    reload(models, {**other, "version_labels": {"old": 1}})
    relabelled = question(name="other", version_label="old")
    assert predictor.Predict(relabelled, timeout=30).model_spec.version.value == 1
    with pytest.raises(grpc.RpcError, match="is not a folder"):
        reload(models, {**other, "base_path": str(base_path / "missing")})
    assert predictor.Predict(relabelled, timeout=30).model_spec.version.value == 1


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        (
            {"version_labels": {"canary": 7}},
            "FAILED_PRECONDITION",
            "Request to assign label to version 7 of model catalogue, which is not currently available for inference",
        ),
        (
            {"base_path": "export/catalogue"},
            "INVALID_ARGUMENT",
            "Expected model catalogue to have an absolute path or URI; got base_path()=export/catalogue",
        ),
        ({"name": "../catalogue"}, "INVALID_ARGUMENT", "must not be empty nor hold '/' or ':'"),
    ],
)
def test_a_config_that_is_refused_changes_nothing(own_server, exported, config: dict, code: str, message: str) -> None:
    predictor, models = own_server
    with pytest.raises(grpc.RpcError) as error:
        reload(models, {"name": "catalogue", "base_path": str(exported), **config})
    assert error.value.code().name == code
    assert message in error.value.details()
    assert predictor.Predict(question(), timeout=30).model_spec.version.value == 2


def test_a_reload_tells_what_did_not_load(own_server, base_path, publish) -> None:
    _, models = own_server
    broken = publish(1)
    (broken / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(grpc.RpcError) as error:
        reload(models, {"name": "other", "base_path": str(base_path)})
    assert error.value.code() is grpc.StatusCode.UNKNOWN
    assert "1 model(s) did not become available: {{{name: other version: 1} due to error: " in error.value.details()


def test_a_label_waits_for_its_version_unless_told_otherwise(base_path: Path, publish) -> None:
    publish(1)
    config = ModelConfig("catalogue", base_path, labels={"stable": 1})
    with pytest.raises(StatusError, match="FAILED_PRECONDITION: Request to assign label to version 1 of model"):
        ModelRegistry([config], poll_seconds=0)
    registry = ModelRegistry([config], poll_seconds=0, allow_unavailable_labels=True)
    registry.apply([ModelConfig("catalogue", base_path, labels={"stable": 1, "canary": 2})])
    with pytest.raises(StatusError, match="assign label to version 2"):  # it names another version already
        registry.apply([ModelConfig("catalogue", base_path, labels={"stable": 2})])
    registry.stop()


def test_a_model_taken_out_ends_with_its_last_request(base_path: Path, publish) -> None:
    publish(1)
    registry = ModelRegistry([ModelConfig("catalogue", base_path)], poll_seconds=0)
    versions = registry._models["catalogue"]
    with registry.acquire(question().model_spec) as (_, model):
        registry.apply([])
        assert versions.statuses()[0].state == 40  # UNLOADING
        assert model.predict_protos("serving_default", question().inputs)["scores"].shape == (1, 3)
    assert versions.statuses()[0].state == 50  # END
