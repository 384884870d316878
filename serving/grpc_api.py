"""TF Serving's gRPC services over a registry of models.

`PredictionService` answers Predict and GetModelMetadata, `ModelService` GetModelStatus and
HandleReloadConfigRequest; every other method of theirs answers UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import model_config, tensors
from serving.metrics import Metrics
from serving.predict import DEFAULT_SIGNATURE
from serving.registry import ModelRegistry
from serving.status import StatusError, invalid_argument

SIGNATURE_DEF = "signature_def"


def predict(registry: ModelRegistry, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Runs one signature; the response names the version and the signature that answered.

    Raises:
        StatusError: as `ModelRegistry.acquire` and `SavedModel.predict`.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    name = spec.signature_name or DEFAULT_SIGNATURE
    with registry.acquire(spec) as (version, model):
        arrays = model.predict_protos(name, request.inputs, request.output_filter)
        outputs = model.signatures[name].outputs
    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = name
    for alias, array in arrays.items():
        tensors.to_proto(array, outputs[alias].dtype, response.outputs[alias])
    return response


def get_model_metadata(
    registry: ModelRegistry, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a model: `signature_def` is the one metadata field there is."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with registry.acquire(request.model_spec) as (version, model):
        for name, signature in model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def get_model_status(
    registry: ModelRegistry, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """The state of each version seen, the highest first, with the error of those that ended with one."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in registry.statuses(request.model_spec):
        entry = response.model_version_status.add(version=status.version, state=status.state)
        entry.status.error_code = error_codes_pb2.OK
        if status.error is not None:
            entry.status.error_code = status.error.code.value[0]
            entry.status.error_message = status.error.message
    return response


def reload_config(
    registry: ModelRegistry, request: model_management_pb2.ReloadConfigRequest
) -> model_management_pb2.ReloadConfigResponse:
    """Serves exactly the models of the request's config."""
    try:
        configs = model_config.from_proto(request.config)
    except (ValueError, FileNotFoundError) as error:
        raise invalid_argument(str(error)) from error
    registry.apply(configs)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.error_code = error_codes_pb2.OK
    return response


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, registry: ModelRegistry, metrics: Metrics):
        self._registry = registry
        self._metrics = metrics

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        def observed(
            registry: ModelRegistry, request: predict_pb2.PredictRequest
        ) -> predict_pb2.PredictResponse:
            with self._metrics.observe(registry.served(request.model_spec.name), "Predict", "GRPC"):
                return predict(registry, request)

        return _answer(observed, self._registry, request, context)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return _answer(get_model_metadata, self._registry, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> None:
        _refuse("Classify", context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> None:
        _refuse("Regress", context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> None:
        _refuse("MultiInference", context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, registry: ModelRegistry):
        self._registry = registry

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return _answer(get_model_status, self._registry, request, context)

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        return _answer(reload_config, self._registry, request, context)


def _answer(
    function: Callable[[ModelRegistry, Any], Any],
    registry: ModelRegistry,
    request: Any,
    context: grpc.ServicerContext,
) -> Any:
    try:
        return function(registry, request)
    except StatusError as error:
        context.abort(error.code, error.message)


def _refuse(method: str, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not supported by this server")
