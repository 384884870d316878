"""The requests about examples as TF Serving's own stubs see them answered; Predict is in test_grpc_api.py."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


@pytest.fixture(scope="module")
def predictor(server) -> Iterator[prediction_service_pb2_grpc.PredictionServiceStub]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def scored(*examples: object, signature: str = "", **spec: object) -> dict:
    model_spec = model_pb2.ModelSpec(name="scorer", signature_name=signature, **spec)
    return {"model_spec": model_spec, "input": {"example_list": {"examples": examples}}}


def test_classifies_examples(predictor, example) -> None:
    request = classification_pb2.ClassificationRequest(**scored(example(x=[1, 2]), example(x=[0.5, 4])))
    response = predictor.Classify(request, timeout=30)
    assert response.model_spec == model_pb2.ModelSpec(
        name="scorer", version={"value": 1}, signature_name="serving_default"
    )
    assert [[(c.label, c.score) for c in row.classes] for row in response.result.classifications] == [
        [("low", 1), ("high", 2)],
        [("low", 0.5), ("high", 4)],
    ]


def test_regresses_on_examples_that_share_a_context(predictor, example) -> None:
    request = regression_pb2.RegressionRequest(model_spec={"name": "scorer", "signature_name": "regress"})
    shared = request.input.example_list_with_context
    shared.context.CopyFrom(example(x=[1, 2]))
    shared.examples.append(example(unread=[1]))
    shared.examples.append(example(x=[3, 4]))
    response = predictor.Regress(request, timeout=30)
    assert [regression.value for regression in response.result.regressions] == [3, 7]
    assert response.model_spec.signature_name == "regress"


def test_infers_with_several_signatures_at_once(predictor, example) -> None:
    request = inference_pb2.MultiInferenceRequest(input={"example_list": {"examples": [example(x=[1, 2])]}})
    for name, method in (("regress", "regress"), ("", "classify")):
        spec = model_pb2.ModelSpec(name="scorer", signature_name=name)
        request.tasks.add(model_spec=spec, method_name=f"tensorflow/serving/{method}")
    first, second = predictor.MultiInference(request, timeout=30).results
    assert first.model_spec == model_pb2.ModelSpec(
        name="scorer", version={"value": 1}, signature_name="regress"
    )
    assert [regression.value for regression in first.regression_result.regressions] == [3]
    assert second.model_spec.signature_name == "serving_default"
    assert [c.label for c in second.classification_result.classifications[0].classes] == ["low", "high"]


@pytest.mark.parametrize(
    ("method", "request_", "code", "message"),
    [
        ("Classify", classification_pb2.ClassificationRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("Regress", regression_pb2.RegressionRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            "MultiInference",
            inference_pb2.MultiInferenceRequest(),
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
        ),
        (
            "Classify",
            classification_pb2.ClassificationRequest(**scored()),
            "INVALID_ARGUMENT",
            "Input is empty.",
        ),
        (
            "Classify",
            classification_pb2.ClassificationRequest(**scored(version={"value": 3})),
            "NOT_FOUND",
            "Servable not found for request: Specific(scorer, 3)",
        ),
    ],
)
def test_refuses_a_bad_question_about_examples(predictor, method: str, request_, code: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        getattr(predictor, method)(request_, timeout=30)
    assert (error.value.code().name, error.value.details()) == (code, message)


def test_predicts_on_serialized_examples(predictor, example) -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "scorer", "signature_name": "sums"})
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([example(x=[1, 2]).SerializeToString()]))
    assert list(predictor.Predict(request, timeout=30).outputs["sums"].float_val) == [3]


def test_counts_requests_and_examples(server, predictor, example) -> None:
    request = classification_pb2.ClassificationRequest(**scored(example(x=[1, 2]), example(x=[1, 2])))
    predictor.Classify(request, timeout=30)
    page = urllib3.request("GET", f"http://{server.rest}/monitoring/prometheus/metrics").data.decode()
    assert ':tensorflow:serving:request_example_counts_count{model="scorer"}' in page
    assert ':tensorflow:serving:request_example_count_total{model="scorer"}' in page
    labels = 'model_name="scorer",API="Classify"'
    assert f':tensorflow:serving:request_latency_count{{{labels},entrypoint="GRPC"}}' in page
    assert f':tensorflow:serving:runtime_latency_count{{{labels},runtime="TF1"}}' in page
