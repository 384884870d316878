from __future__ import annotations

import pytest
from tensorflow_serving.apis import inference_pb2

from serving import multi_inference
from serving.predict import SavedModel
from serving.status import StatusError

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def request(example, *tasks: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    message = inference_pb2.MultiInferenceRequest(input={"example_list": {"examples": [example(x=[1, 2])]}})
    for name, signature, method in tasks:
        message.tasks.add(model_spec={"name": name, "signature_name": signature}, method_name=method)
    return message


def test_tasks_are_answered_in_order(model: SavedModel, example) -> None:
    asked = request(example, ("m", "column", REGRESS), ("m", "", CLASSIFY), ("m", "scores", CLASSIFY))
    response, count = multi_inference.run(model, asked)
    assert count == 1
    assert [result.model_spec.signature_name for result in response.results] == [
        "column",
        "serving_default",
        "scores",
    ]
    assert response.results[0].regression_result.regressions[0].value == 3
    assert [c.score for c in response.results[2].classification_result.classifications[0].classes] == [1, 2]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("", "", CLASSIFY)], "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        (
            [("m", "", CLASSIFY), ("n", "regress", REGRESS)],
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("m", "", CLASSIFY), ("m", "serving_default", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        ([("m", "no", CLASSIFY)], "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
        (
            [("m", "sums", "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_refuses_what_tf_serving_refuses(model: SavedModel, example, tasks, code: str, message: str) -> None:
    with pytest.raises(StatusError) as error:
        multi_inference.run(model, request(example, *tasks))
    assert (error.value.code.name, error.value.message) == (code, message)


def test_all_tasks_read_the_same_input(model: SavedModel, example) -> None:
    model.signatures["elsewhere"] = type(model.signatures["regress"]).FromString(
        model.signatures["regress"].SerializeToString()
    )
    model.signatures["elsewhere"].inputs["inputs"].name = "other:0"
    with pytest.raises(StatusError, match="Input tensor must be the same for all Signatures."):
        multi_inference.run(model, request(example, ("m", "", CLASSIFY), ("m", "elsewhere", REGRESS)))
