"""The gRPC services as TF Serving's own stubs see them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import grpc
import pytest
import tensorflow as tf
from mutations import PROTOBUF, mutated
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


@pytest.fixture(scope="module")
def channel(server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def predictor(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def models(channel: grpc.Channel) -> model_service_pb2_grpc.ModelServiceStub:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def question(signature: str = "", **inputs: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "catalogue"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_predicts_with_the_newest_version_and_says_which(predictor) -> None:
    response = predictor.Predict(question(history=[["e"]]), timeout=30)
    assert response.model_spec == model_pb2.ModelSpec(
        name="catalogue", version={"value": 2}, signature_name="serving_default"
    )
    assert tf.make_ndarray(response.outputs["items"]).tolist() == [[b"d", b"c", b"b"]]
    assert list(response.outputs["scores"].float_val) == [8, 6, 4]
    assert response.outputs["scores"].dtype == tf.float32.as_datatype_enum


def test_predicts_with_a_version_by_number_or_label(predictor) -> None:
    by_number, by_label = question(history=[["e"]]), question(history=[["e"]])
    by_number.model_spec.version.value = 1
    by_label.model_spec.version_label = "stable"
    for request in (by_number, by_label):
        response = predictor.Predict(request, timeout=30)
        assert response.model_spec.version.value == 1
        assert list(response.outputs["scores"].float_val) == [4, 3, 2]


def test_answers_only_the_outputs_asked_for(predictor) -> None:
    request = question(history=[["e"]])
    request.output_filter.append("items")
    assert list(predictor.Predict(request, timeout=30).outputs) == ["items"]


def changed(request: predict_pb2.PredictRequest, **spec: object) -> predict_pb2.PredictRequest:
    request.model_spec.MergeFrom(model_pb2.ModelSpec(**spec))
    return request


def filtered(*outputs: str) -> predict_pb2.PredictRequest:
    request = question(history=[["a"]])
    request.output_filter.extend(outputs)
    return request


def broken_tensor() -> predict_pb2.PredictRequest:
    request = question(history=[["a"]])
    request.inputs["history"].tensor_shape.dim[0].size = -5
    return request


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            predict_pb2.PredictRequest(model_spec={"signature_name": "x"}),
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
        ),
        (
            predict_pb2.PredictRequest(model_spec={"name": "nothing"}),
            "NOT_FOUND",
            "Servable not found for request: Latest(nothing)",
        ),
        (
            predict_pb2.PredictRequest(model_spec={"name": "../catalogue"}),
            "NOT_FOUND",
            "Servable not found for request: Latest(../catalogue)",
        ),
        (
            changed(question(history=[["a"]]), version={"value": 7}),
            "NOT_FOUND",
            "Servable not found for request: Specific(catalogue, 7)",
        ),
        (
            changed(question(history=[["a"]]), version_label="canary"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
        ),
        (
            question("other", history=[["a"]]),
            "FAILED_PRECONDITION",
            'Serving signature key "other" not found.',
        ),
        (
            question(),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({history}). Sent extra: {}. "
            "Missing but required: {history}.",
        ),
        (
            question(history=[["a"]], more=[1]),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({history,more}) != len({history}). "
            "Sent extra: {more}. Missing but required: {}.",
        ),
        (
            question(items=[["a"]]),
            "INVALID_ARGUMENT",
            "Signature input alias: history(feed name: serving_default_history:0) not found in request and "
            "no default value provided. Inputs expected to be in the request {items}, or default input alias "
            "set: ",
        ),
        (
            question(history=[[1.0]]),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be string but float is provided",
        ),
        (question(history=["a"]), "INVALID_ARGUMENT", "Tensor history: expected shape [?,?] but got [1]"),
        (broken_tensor(), "INVALID_ARGUMENT", "tensor parsing error: history"),
        (
            filtered("ranks"),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: ranks Outputs expected to be in the set "
            "{items,scores}.",
        ),
        (filtered("items", "items"), "INVALID_ARGUMENT", "duplicate output tensor alias: items"),
    ],
)
def test_refuses_a_bad_request_as_tf_serving_does(predictor, request_, code: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        predictor.Predict(request_, timeout=30)
    assert (error.value.code().name, error.value.details()) == (code, message)


def test_an_operation_that_fails_answers_its_own_status(predictor) -> None:
    request = question("score", history=[["a"]], candidates=[["a"], ["b"]])
    with pytest.raises(grpc.RpcError) as error:
        predictor.Predict(request, timeout=30)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "one history a row" in error.value.details()


def test_tells_the_signatures(predictor) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "catalogue"}, metadata_field=["signature_def"]
    )
    response = predictor.GetModelMetadata(request, timeout=30)
    assert response.model_spec == model_pb2.ModelSpec(name="catalogue", version={"value": 2})
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    score = signatures.signature_def["score"]
    assert set(score.inputs) == {"history", "candidates"}
    assert score.method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["assets"], "Metadata field assets is not supported"),
    ],
)
def test_refuses_other_metadata(predictor, fields: list[str], message: str) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "catalogue"}, metadata_field=fields
    )
    with pytest.raises(grpc.RpcError) as error:
        predictor.GetModelMetadata(request, timeout=30)
    assert (error.value.code().name, error.value.details()) == ("INVALID_ARGUMENT", message)


def test_tells_the_state_of_every_version_the_newest_first(models) -> None:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "catalogue"})
    statuses = models.GetModelStatus(request, timeout=30).model_version_status
    assert [(status.version, status.state) for status in statuses] == [(2, AVAILABLE), (1, AVAILABLE)]
    assert all(status.status.error_code == 0 and not status.status.error_message for status in statuses)


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "nothing"}, "NOT_FOUND", "Could not find any versions of model nothing"),
        (
            {"name": "catalogue", "version": {"value": 7}},
            "NOT_FOUND",
            "Could not find version 7 of model catalogue",
        ),
    ],
)
def test_tells_no_state_of_what_it_does_not_know(models, spec, code: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec=spec), timeout=30)
    assert (error.value.code().name, error.value.details()) == (code, message)


def test_no_mutated_message_breaks_the_server(server, channel, predictor, example) -> None:
    examples = {"model_spec": {"name": "scorer"}, "input": {"example_list": {"examples": [example(x=[1, 2])]}}}
    task = {"model_spec": {"name": "scorer"}, "method_name": "tensorflow/serving/classify"}
    both = question("score", history=[["a"]], candidates=[["b", "c"]])
    messages = {
        "PredictionService/Predict": both,
        "PredictionService/Classify": classification_pb2.ClassificationRequest(**examples),
        "PredictionService/Regress": regression_pb2.RegressionRequest(**examples),
        "PredictionService/MultiInference": inference_pb2.MultiInferenceRequest(
            tasks=[task], input=examples["input"]
        ),
        "PredictionService/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec={"name": "catalogue"}, metadata_field=["signature_def"]
        ),
        "ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest(
            model_spec={"name": "catalogue"}
        ),
    }
    draw = random.Random(0)
    for method, message in messages.items():
        call = channel.unary_unary(f"/tensorflow.serving.{method}")  # bytes in, bytes out
        for _ in range(60):
            with contextlib.suppress(grpc.RpcError):
                call(mutated(message.SerializeToString(), draw, PROTOBUF), timeout=30)
    assert predictor.Predict(both, timeout=30).model_spec.version.value == 2
    assert server.process.poll() is None


def test_a_few_bytes_cannot_ask_for_much_memory(predictor) -> None:
    for dtype, size in ((types_pb2.DT_FLOAT, 1 << 62), (types_pb2.DT_STRING, 1 << 24), (types_pb2.DT_INT64, 1 << 27)):
        request = question(history=[["a"]])
        tensor = request.inputs["history"]
        tensor.dtype = dtype
        tensor.tensor_shape.dim[1].size = size
        tensor.string_val[0] = b"x" * 100
        with pytest.raises(grpc.RpcError, match="tensor parsing error: history"):
            predictor.Predict(request, timeout=30)


def test_a_request_ends_at_its_deadline(predictor) -> None:
    with pytest.raises(grpc.RpcError) as error:
        predictor.Predict(question("spin", rounds=1 << 40), timeout=0.5)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_only_a_list_of_models_can_be_reloaded(models) -> None:
    with pytest.raises(grpc.RpcError) as error:
        models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=30)
    assert error.value.details() == (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )
