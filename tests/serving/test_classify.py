from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2

from serving import classify, examples
from serving.predict import SavedModel
from serving.runtime import Runtime
from serving.status import StatusError


def ask(model: SavedModel, example, signature: str) -> list[list[tuple[str, float]]]:
    asked = input_pb2.Input(example_list={"examples": [example(x=[1, 2]), example(x=[3, 4])]})
    answer = examples.ask(classify, model, signature, asked)
    return [[(entry.label, entry.score) for entry in row.classes] for row in answer.classifications]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("", [[("low", 1), ("high", 2)], [("low", 3), ("high", 4)]]),
        ("scores", [[("", 1), ("", 2)], [("", 3), ("", 4)]]),
        ("classes", [[("low", 0), ("high", 0)], [("low", 0), ("high", 0)]]),
    ],
)
def test_a_signature_answers_classes_scores_or_both(model: SavedModel, example, signature: str, expected) -> None:
    assert ask(model, example, signature) == expected


@pytest.mark.parametrize(
    ("signature", "code", "message"),
    [
        ("none", "INVALID_ARGUMENT", "No signature was found with the name: none"),
        ("three", "INVALID_ARGUMENT", "Expected one or two output Tensors, found 3"),
        ("regress", "FAILED_PRECONDITION", "Expected classification signature outputs to contain at least one of"),
    ],
)
def test_refuses_a_signature_that_does_not_classify(
    model: SavedModel, example, signature: str, code: str, message: str
) -> None:
    with pytest.raises(StatusError) as error:
        ask(model, example, signature)
    assert error.value.code.name == code
    assert error.value.message.startswith(message)


def test_refuses_another_method_where_it_is_checked(scorer: Path, example) -> None:
    model = SavedModel(scorer / "1", Runtime(check_method_names=True))
    assert ask(model, example, "")
    with pytest.raises(StatusError) as error:
        ask(model, example, "regress")
    assert error.value.message == (
        "Expected classification signature method_name to be tensorflow/serving/classify. Was: "
        "tensorflow/serving/regress"
    )
    model.close()


def test_refuses_a_signature_without_examples_to_read() -> None:
    signature = meta_graph_pb2.SignatureDef(inputs={"x": {"name": "x:0"}}, outputs={"scores": {"name": "y:0"}})
    with pytest.raises(StatusError, match="FAILED_PRECONDITION: No classification inputs found in SignatureDef: "):
        classify.prepare(signature, check_method=False)
    signature.inputs["y"].name = "y:0"
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: Expected one input Tensor."):
        classify.prepare(signature, check_method=False)
