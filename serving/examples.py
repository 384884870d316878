"""tf.Examples in a request, as a model reads them, and signatures that are asked about them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2

from serving.predict import DEFAULT_SIGNATURE, SavedModel
from serving.status import invalid_argument


def serialized(request_input: input_pb2.Input) -> np.ndarray:
    """Serialized tf.Examples, object (B,); each is merged with the context where the request has one.

    Where both have a feature, the example's is the one a reader sees: it comes later in the bytes.

    Raises:
        StatusError: INVALID_ARGUMENT where there are no examples.
    """
    context = b""
    if request_input.WhichOneof("kind") == "example_list_with_context":
        context = request_input.example_list_with_context.context.SerializeToString()
        examples = request_input.example_list_with_context.examples
    else:
        examples = request_input.example_list.examples
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def check(signature: meta_graph_pb2.SignatureDef, kind: str, method: str) -> None:
    """What classification and regression ask of a signature alike.

    Args:
        method: the method's name that it must have; "" takes any.

    Raises:
        StatusError: INVALID_ARGUMENT where the signature has another method, or not one input.
    """
    if method and signature.method_name != method:
        raise invalid_argument(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")


def ask(
    method: ModuleType,
    model: SavedModel,
    signature_name: str,
    request_input: input_pb2.Input,
    timeout: float | None = None,
) -> Any:
    """The result of `method` (`serving.classify` or `serving.regress`) on the examples of a request.

    Raises:
        StatusError: INVALID_ARGUMENT for an unknown signature or no examples, and as `method` and `SavedModel.run`.
    """
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    signature = model.signatures[name]
    input_tensor, fetches = method.prepare(signature, model.runtime.check_method_names)
    batch = serialized(request_input)
    values = dict(zip(fetches, model.run({input_tensor: batch}, fetches, timeout), strict=True))
    return method.result(signature, len(batch), values)
