from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2

from serving import examples, regress
from serving.predict import SavedModel
from serving.status import StatusError


def ask(model: SavedModel, example, signature: str) -> list[float]:
    asked = input_pb2.Input(example_list={"examples": [example(x=[1, 2]), example(x=[3, 4])]})
    return [entry.value for entry in examples.ask(regress, model, signature, asked).regressions]


def test_answers_one_number_an_example(model: SavedModel, example) -> None:
    assert ask(model, example, "regress") == [3, 7]
    assert ask(model, example, "column") == [3, 7]


@pytest.mark.parametrize(
    ("signature", "code", "message"),
    [
        ("none", "INVALID_ARGUMENT", "No signature was found with the name: none"),
        ("", "INVALID_ARGUMENT", "Expected one output Tensor."),
        ("sums", "FAILED_PRECONDITION", "No regression outputs found in SignatureDef: "),
        (
            "matrix",
            "INVALID_ARGUMENT",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
        ("whole", "INVALID_ARGUMENT", "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
    ],
)
def test_refuses_a_signature_that_does_not_regress(
    model: SavedModel, example, signature: str, code: str, message: str
) -> None:
    with pytest.raises(StatusError) as error:
        ask(model, example, signature)
    assert error.value.code.name == code
    assert error.value.message.startswith(message)


def test_refuses_another_number_of_answers() -> None:
    signature = meta_graph_pb2.SignatureDef(outputs={"outputs": {"name": "y:0"}})
    with pytest.raises(StatusError, match="Input batch size did not match output batch size: 2 vs. 3"):
        regress.result(signature, 2, {"y:0": np.zeros(3, np.float32)})


def test_what_an_example_lacks_is_the_model_s_error(model: SavedModel, example) -> None:
    asked = input_pb2.Input(example_list={"examples": [example(y=[1])]})
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: .*Feature: x .* is required but could not be found"):
        examples.ask(regress, model, "regress", asked)
