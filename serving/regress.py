"""Signatures that regress on tf.Examples: serialized examples to one number each."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import regression_pb2

from serving import examples, tensors
from serving.status import StatusError, invalid_argument

METHOD = "tensorflow/serving/regress"
_INPUT, _OUTPUT = "inputs", "outputs"


def prepare(signature: meta_graph_pb2.SignatureDef, check_method: bool) -> tuple[str, list[str]]:
    """The tensor that takes the examples, and the one that answers.

    Raises:
        StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION where the signature does not regress.
    """
    examples.check(signature, "regression", METHOD if check_method else "")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    for name, kind, tensor_infos in (
        (_INPUT, "inputs", signature.inputs),
        (_OUTPUT, "outputs", signature.outputs),
    ):
        if name not in tensor_infos:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION, f"No regression {kind} found in SignatureDef: {signature}"
            )
    return signature.inputs[_INPUT].name, [signature.outputs[_OUTPUT].name]


def result(
    signature: meta_graph_pb2.SignatureDef, count: int, values: Mapping[str, np.ndarray]
) -> regression_pb2.RegressionResult:
    """What the model answered to `count` examples.

    Args:
        values: tensor name → (count,) or (count, 1) of float32.

    Raises:
        StatusError: INVALID_ARGUMENT where it has another shape or type.
    """
    array = values[signature.outputs[_OUTPUT].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{tensors.shape_name(array.shape)}"
        )
    if len(array) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if (found := tensors.enum_name(array)) != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {found}")
    answer = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        answer.regressions.add(value=value)
    return answer
