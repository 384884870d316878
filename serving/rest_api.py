"""TF Serving's REST API over a registry of models: predict, model status, metadata, metrics."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving import grpc_api, json_tensors, metrics
from serving.predict import DEFAULT_SIGNATURE
from serving.registry import ModelRegistry
from serving.status import HTTP_STATUS, StatusError, invalid_argument

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_PREDICT = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_MODEL = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str
    body: bytes


class RestApi:
    """Answers HTTP requests; knows nothing of sockets."""

    def __init__(self, registry: ModelRegistry, counters: metrics.Metrics):
        self._registry = registry
        self._metrics = counters

    def handle(self, method: str, path: str, body: bytes) -> Response:
        """The response to one request: `path` as sent, without its query."""
        if path == metrics.PATH:
            return Response(200, "text/plain", self._metrics.page().encode())
        if not _API.fullmatch(path):
            return Response(404, "text/html", b"<html><body><h1>Not Found</h1></body></html>")
        try:
            return Response(200, "application/json", self._api(method, path, body))
        except StatusError as error:
            return error_response(HTTP_STATUS[error.code], error.message)

    def _api(self, method: str, path: str, body: bytes) -> bytes:
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            if match["method"] != "predict":
                raise StatusError(
                    grpc.StatusCode.UNIMPLEMENTED, f"{match['method']} is not supported by this server"
                )
            spec = _model_spec(match)
            with self._metrics.observe(self._registry.served(spec.name), "Predict", "REST"):
                return self._predict(spec, body)
        if method == "GET" and (match := _MODEL.fullmatch(path)):
            if not match["name"]:
                raise invalid_argument("Missing model name in request.")
            spec = _model_spec(match)
            return self._metadata(spec) if match["metadata"] else self._status(spec)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
        document = json_tensors.parse(body)
        name = json_tensors.signature_name(document) or DEFAULT_SIGNATURE
        with self._registry.acquire(spec) as (_, model):
            if name not in model.signatures:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            signature_inputs = model.signatures[name].inputs
            if not signature_inputs:
                raise invalid_argument(f"Failed to get input map for signature: {name}")
            inputs, by_row = json_tensors.read_inputs(document, signature_inputs)
            outputs = model.predict(name, inputs)
        return json_tensors.write_outputs(outputs, by_row)

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


def error_response(http_status: int, message: str) -> Response:
    """TF Serving's error body, {"error": "…"}."""
    body = json.dumps({"error": message}, indent=4, ensure_ascii=False)
    return Response(http_status, "application/json", body.encode("utf-8", "replace"))


def _model_spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["name"], errors="replace"))
    if match["version"]:
        if int(match["version"]) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = unquote(match["label"], errors="replace")
    return spec


def _to_json(message: model_pb2.ModelSpec | get_model_status_pb2.GetModelStatusResponse) -> str:
    return json_format.MessageToJson(
        message, indent=1, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
