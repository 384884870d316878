"""Several signatures asked about the same examples in one request, and answered by one run of the graph."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import inference_pb2

from serving import classify, examples, regress
from serving.predict import DEFAULT_SIGNATURE, SavedModel
from serving.status import StatusError, invalid_argument

_METHODS = {classify.METHOD: classify, regress.METHOD: regress}


def run(
    model: SavedModel, request: inference_pb2.MultiInferenceRequest, timeout: float | None = None
) -> tuple[inference_pb2.MultiInferenceResponse, int]:
    """One result for each task, in order, and the number of examples; the results name no version yet.

    Raises:
        StatusError: INVALID_ARGUMENT for tasks of different models or inputs, or the same signature twice,
            UNIMPLEMENTED for another method than classify and regress, and what the signatures and the model raise.
    """
    input_tensor, fetches = _prepare(model, request)
    batch = examples.serialized(request.input)
    values = dict(zip(fetches, model.run({input_tensor: batch}, fetches, timeout), strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        found = response.results.add()
        found.model_spec.name = task.model_spec.name
        found.model_spec.signature_name = name
        answer = _METHODS[task.method_name].result(model.signatures[name], len(batch), values)
        if task.method_name == classify.METHOD:
            found.classification_result.CopyFrom(answer)
        else:
            found.regression_result.CopyFrom(answer)
    return response, len(batch)


def _prepare(model: SavedModel, request: inference_pb2.MultiInferenceRequest) -> tuple[str, list[str]]:
    if not request.tasks:
        raise invalid_argument("ModelSpec has no name specified.")
    names: set[str] = set()
    inputs: set[str] = set()
    fetches: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in names:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        names.add(name)
        if name not in model.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name not in _METHODS:
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
            )
        method = _METHODS[task.method_name]
        input_tensor, outputs = method.prepare(model.signatures[name], model.runtime.check_method_names)
        inputs.add(input_tensor)
        if len(inputs) > 1:
            raise invalid_argument("Input tensor must be the same for all Signatures.")
        fetches.update(outputs)
    return inputs.pop(), sorted(fetches)
