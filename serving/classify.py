"""Signatures that classify tf.Examples: serialized examples to classes, scores or both."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2

from serving import examples, tensors
from serving.status import StatusError, invalid_argument

METHOD = "tensorflow/serving/classify"
_INPUT, _CLASSES, _SCORES = "inputs", "classes", "scores"


def prepare(signature: meta_graph_pb2.SignatureDef, check_method: bool) -> tuple[str, list[str]]:
    """The tensor that takes the examples, and those that answer.

    Raises:
        StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION where the signature does not classify.
    """
    examples.check(signature, "classification", METHOD if check_method else "")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUT not in signature.inputs:
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION, f"No classification inputs found in SignatureDef: {signature}"
        )
    fetches = [signature.outputs[name].name for name in (_CLASSES, _SCORES) if name in signature.outputs]
    if not fetches:
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {signature}",
        )
    return signature.inputs[_INPUT].name, fetches


def result(
    signature: meta_graph_pb2.SignatureDef, count: int, values: Mapping[str, np.ndarray]
) -> classification_pb2.ClassificationResult:
    """What the model answered to `count` examples.

    Args:
        values: tensor name → classes (count, C) of bytes, scores (count, C) of float32.

    Raises:
        StatusError: INVALID_ARGUMENT where it has another shape or type.
    """
    found = {name: values[signature.outputs[name].name] for name in (_CLASSES, _SCORES) if name in signature.outputs}
    for name, array in found.items():
        _check(name, array, count)
    sizes = {array.shape[1] for array in found.values()}
    if len(sizes) > 1:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{found[_CLASSES].shape[1]} vs. {found[_SCORES].shape[1]}"
        )
    size = sizes.pop()
    answer = classification_pb2.ClassificationResult()
    labels = found[_CLASSES].tolist() if _CLASSES in found else [[b""] * size] * count
    scores = found[_SCORES].tolist() if _SCORES in found else [[0.0] * size] * count
    for row_labels, row_scores in zip(labels, scores, strict=True):
        classes = answer.classifications.add().classes
        for label, score in zip(row_labels, row_scores, strict=True):
            classes.add(label=label.decode("utf-8", "replace"), score=score)
    return answer


def _check(name: str, array: np.ndarray, count: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {tensors.shape_name(array.shape)}"
        )
    expected = "DT_STRING" if name == _CLASSES else "DT_FLOAT"
    if (found := tensors.enum_name(array)) != expected:
        raise invalid_argument(f"Expected {name} Tensor of {expected}. Got: {found}")
    if len(array) != count:
        raise invalid_argument(f"Expected {name} output batch size of {count}. Got: {len(array)}")
