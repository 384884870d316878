"""TF Serving's gRPC services: PredictionService over `Inference`, ModelService over a registry of models."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from feature_store.request_context import HEADER
from serving import model_config, retrieval
from serving.inference import Inference
from serving.metrics import Metrics
from serving.registry import ModelRegistry
from serving.request_log import RequestLog
from serving.status import StatusError, invalid_argument
from serving.wire import RETRIEVAL

log = logging.getLogger(__name__)

SIGNATURE_DEF = "signature_def"
_NO_DEADLINE = 1e9  # seconds; gRPC says infinity, or a number of centuries


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
    """Serves exactly the models of the request's config.

    Raises:
        StatusError: INVALID_ARGUMENT for a config this server cannot serve, and as `ModelRegistry.reload`.
    """
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        )
    try:
        configs = model_config.from_proto(request.config)
    except (ValueError, OSError) as error:
        raise invalid_argument(str(error)) from error
    registry.reload(configs)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.error_code = error_codes_pb2.OK
    return response


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers of models, as TensorFlow Serving's service of that name gives them; each is counted and may be logged."""

    def __init__(
        self, registry: ModelRegistry, inference: Inference, metrics: Metrics, request_log: RequestLog
    ):
        self._registry = registry
        self._inference = inference
        self._metrics = metrics
        self._log = request_log

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return self._ask(self._inference.predict, "Predict", request, context)

    def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        return self._ask(self._inference.classify, "Classify", request, context)

    def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        return self._ask(self._inference.regress, "Regress", request, context)

    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        def logged() -> inference_pb2.MultiInferenceResponse:
            model = self._registry.served(request.tasks[0].model_spec.name) if request.tasks else ""
            sampled = self._log.sample(model, "MultiInference", "GRPC", lambda: _header(context))
            response = self._inference.multi_inference(request, _time_left(context))
            if sampled is not None:
                sampled.messages(request, response, response.results[0].model_spec)
            return response

        return _answer(context, logged)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return _answer(context, lambda: get_model_metadata(self._registry, request))

    def _ask(
        self, function: Callable[..., Any], api: str, request: Any, context: grpc.ServicerContext
    ) -> Any:
        def counted() -> Any:
            model = self._registry.served(request.model_spec.name)
            sampled = self._log.sample(model, api, "GRPC", lambda: _header(context))
            with self._metrics.observe(model, api, "GRPC"):
                response = function(request, _time_left(context))
            if sampled is not None:
                sampled.messages(request, response, response.model_spec)
            return response

        return _answer(context, counted)


class RetrievalService:
    """`Retrieve` of `serving.retrieval`: no call of TF Serving's, on a service of its own."""

    def __init__(self, registry: ModelRegistry, metrics: Metrics):
        self._registry = registry
        self._metrics = metrics

    def add_to(self, server: grpc.Server) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self._retrieve, predict_pb2.PredictRequest.FromString, predict_pb2.PredictResponse.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(RETRIEVAL, {"Retrieve": handler}),))

    def _retrieve(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        def counted() -> predict_pb2.PredictResponse:
            with self._metrics.observe(self._registry.served(request.model_spec.name), "Retrieve", "GRPC"):
                _time_left(context)
                with self._registry.acquire(request.model_spec) as (version, model):
                    return retrieval.retrieve(model, version, request)

        return _answer(context, counted)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """The state of versions, and changes of the models that are served."""

    def __init__(self, registry: ModelRegistry):
        self._registry = registry

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return _answer(context, lambda: get_model_status(self._registry, request))

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        return _answer(context, lambda: reload_config(self._registry, request))


def _header(context: grpc.ServicerContext) -> bytes:
    """What the caller tells of the request for the served log."""
    return next((value.encode() for key, value in context.invocation_metadata() if key == HEADER), b"")


def _time_left(context: grpc.ServicerContext) -> float | None:
    """Seconds until the client's deadline; None where it set none."""
    left = context.time_remaining()
    if left is None or left > _NO_DEADLINE:
        return None
    if left <= 0:  # it waited for a thread that long: nobody reads the answer
        raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    return left


def _answer(context: grpc.ServicerContext, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except StatusError as error:
        code, message = error.code, error.message
    except Exception as error:
        log.exception("a request failed")
        code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
    context.abort(code, message)
