"""TF Serving's REST API: predict, classify, regress, model status and metadata, and the page of metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from serving import grpc_api, json_examples, json_tensors
from serving.inference import Inference
from serving.metrics import PATH, Metrics
from serving.registry import ModelRegistry
from serving.request_log import RequestLog, Sampled
from serving.status import HTTP_STATUS, StatusError, invalid_argument

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_INFERENCE = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_MODEL = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.IGNORECASE | re.ASCII
)
CORS_HEADERS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class RestApi:
    """Answers HTTP requests; knows nothing of sockets.

    Args:
        metrics_path: where the page of metrics is; None: nowhere.
        timeout: seconds a request may take; None: no limit.
        cors: whether pages of any origin may call.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        inference: Inference,
        metrics: Metrics,
        request_log: RequestLog,
        metrics_path: str | None = PATH,
        timeout: float | None = None,
        cors: bool = False,
    ):
        self._registry = registry
        self._inference = inference
        self._metrics = metrics
        self._log = request_log
        self._metrics_path = metrics_path
        self._timeout = timeout
        self._headers = CORS_HEADERS if cors else {}

    def handle(self, method: str, path: str, body: bytes, context: bytes = b"") -> Response:
        """The response to one request: `path` as sent, without its query; `context` its header for the served log."""
        if path == self._metrics_path:
            return Response(200, "text/plain", self._metrics.page().encode())
        if not _API.fullmatch(path):
            return Response(404, "text/html", b"<html><body><h1>Not Found</h1></body></html>")
        if method == "OPTIONS" and self._headers:
            return Response(200, "application/json", b"", self._headers)
        try:
            return Response(200, "application/json", self._api(method, path, body, context), self._headers)
        except StatusError as error:
            return error_response(HTTP_STATUS[error.code], error.message, self._headers)

    def _api(self, method: str, path: str, body: bytes, context: bytes) -> bytes:
        if method == "POST" and (match := _INFERENCE.fullmatch(path)):
            spec = _model_spec(match)
            api = match["method"].lower()
            ask = {"predict": self._predict, "classify": self._classify, "regress": self._regress}[api]
            model = self._registry.served(spec.name)
            sampled = self._log.sample(model, api.capitalize(), "REST", lambda: context)
            with self._metrics.observe(model, api, "REST"):
                return ask(spec, body, sampled)
        if method == "GET" and (match := _MODEL.fullmatch(path)):
            if not match["name"]:
                raise invalid_argument("Missing model name in request.")
            spec = _model_spec(match)
            return self._metadata(spec) if match["metadata"] else self._status(spec)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes, sampled: Sampled | None) -> bytes:
        document = json_tensors.parse(body)
        spec.signature_name = json_tensors.signature_name(document)
        by_row = False

        def inputs(signature: meta_graph_pb2.SignatureDef) -> Mapping[str, np.ndarray]:
            nonlocal by_row
            if not signature.inputs:
                name = spec.signature_name or "DEFAULT"
                raise invalid_argument(f"Failed to get input map for signature: {name}")
            arrays, by_row = json_tensors.read_inputs(document, signature.inputs)
            return arrays

        prediction = self._inference.predict_arrays(spec, inputs, self._timeout)
        answer = json_tensors.write_outputs(prediction.outputs, by_row)
        if sampled is not None:
            sampled.arrays(spec, prediction, len(body) + len(answer))
        return answer

    def _classify(self, spec: model_pb2.ModelSpec, body: bytes, sampled: Sampled | None) -> bytes:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        _read_examples(body, request)
        response = self._inference.classify(request, self._timeout)
        if sampled is not None:
            sampled.messages(request, response, response.model_spec)
        return json_examples.write_classifications(response.result)

    def _regress(self, spec: model_pb2.ModelSpec, body: bytes, sampled: Sampled | None) -> bytes:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        _read_examples(body, request)
        response = self._inference.regress(request, self._timeout)
        if sampled is not None:
            sampled.messages(request, response, response.model_spec)
        return json_examples.write_regressions(response.result)

    def _status(self, spec: model_pb2.ModelSpec) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        response = grpc_api.get_model_status(self._registry, request)
        return (_to_json(response) + "\n").encode()

    def _metadata(self, spec: model_pb2.ModelSpec) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[grpc_api.SIGNATURE_DEF]
        )
        response = grpc_api.get_model_metadata(self._registry, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[grpc_api.SIGNATURE_DEF].Unpack(signatures)
        return (
            f'{{\n"model_spec":{_to_json(response.model_spec)},\n'
            f'"metadata": {{"signature_def": {_to_json(signatures)}}}\n}}\n'
        ).encode()


def error_response(http_status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """TF Serving's error body, {"error": "…"}."""
    body = json.dumps({"error": message}, indent=4, ensure_ascii=False)
    return Response(http_status, "application/json", body.encode("utf-8", "replace"), headers or {})


def _model_spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["name"], errors="replace"))
    if match["version"]:
        digits = match["version"].lstrip("0")
        if len(digits) > 19 or int(digits or 0) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(digits or 0)
    elif match["label"]:
        spec.version_label = unquote(match["label"], errors="replace")
    return spec


def _read_examples(
    body: bytes, request: classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest
) -> None:
    document = json_tensors.parse(body)
    request.model_spec.signature_name = json_tensors.signature_name(document)
    json_examples.read_input(document, request.input)


def _to_json(message: Message) -> str:
    return json_format.MessageToJson(
        message, indent=1, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
