"""The two ways a client reaches a server: gRPC and REST. Both answer alike and fail with a `StatusError`."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import grpc
import numpy as np
import urllib3

from serving import wire
from serving.status import StatusError, from_number

Rows = list[list[str]]

_CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
_HTTP_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class Call:
    """A signature to run: its string inputs, each (B, ·), and the outputs wanted, in this order."""

    model: str
    version: int | None
    signature: str
    inputs: dict[str, Rows]
    outputs: tuple[str, ...]


class Transport(Protocol):
    def predict(self, call: Call, timeout: float) -> list[np.ndarray]:
        """The call's outputs: numbers as float32, strings as objects."""

    def status(self, model: str, version: int | None, timeout: float) -> list[dict[str, Any]]:
        """`version`, `state`, `code` and `message` of each version."""

    def close(self) -> None: ...


class Grpc:
    """One channel to `address` ("host:port"), shared by every call and thread."""

    def __init__(self, address: str):
        self._channel = grpc.insecure_channel(address, options=_CHANNEL)
        self._predict = self._channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        self._status = self._channel.unary_unary(
            "/tensorflow.serving.ModelService/GetModelStatus",
            request_serializer=wire.GetModelStatusRequest.SerializeToString,
            response_deserializer=wire.GetModelStatusResponse.FromString,
        )

    def predict(self, call: Call, timeout: float) -> list[np.ndarray]:
        request = wire.PredictRequest()
        _fill(request.model_spec, call.model, call.version)
        request.model_spec.signature_name = call.signature
        for name, rows in call.inputs.items():
            tensor = request.inputs[name]
            tensor.dtype = wire.DT_STRING
            tensor.tensor_shape.dim.add(size=len(rows))
            tensor.tensor_shape.dim.add(size=len(rows[0]))
            tensor.string_val.extend(value.encode() for row in rows for value in row)
        response = _call(self._predict, request, timeout)
        _check_outputs(call, response.outputs)
        return [_array(name, response.outputs[name]) for name in call.outputs]

    def status(self, model: str, version: int | None, timeout: float) -> list[dict[str, Any]]:
        request = wire.GetModelStatusRequest()
        _fill(request.model_spec, model, version)
        return [
            {
                "version": entry.version,
                "state": wire.STATES.get(entry.state, str(entry.state)),
                "code": from_number(entry.status.error_code, "").code.name,
                "message": entry.status.error_message,
            }
            for entry in _call(self._status, request, timeout).model_version_status
        ]

    def close(self) -> None:
        self._channel.close()


def _fill(spec: Any, model: str, version: int | None) -> None:
    spec.name = model
    if version is not None:
        spec.version.value = version


def _call(method: grpc.UnaryUnaryMultiCallable, request: Any, timeout: float) -> Any:
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise StatusError(error.code(), error.details() or "") from error


def _array(name: str, tensor: Any) -> np.ndarray:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == wire.DT_STRING:
        return np.array([value.decode() for value in tensor.string_val], dtype=object).reshape(shape)
    if tensor.dtype != wire.DT_FLOAT:
        raise StatusError(
            grpc.StatusCode.INTERNAL, f"output {name} has type {tensor.dtype}, not float or string"
        )
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype=np.float32).reshape(shape)
    return np.array(tensor.float_val, dtype=np.float32).reshape(shape)


class Rest:
    """Kept-alive connections to `address` ("host:port"), shared by every call and thread."""

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self._pool = urllib3.HTTPConnectionPool(host, int(port), maxsize=16, retries=False)

    def predict(self, call: Call, timeout: float) -> list[np.ndarray]:
        body = json.dumps({"signature_name": call.signature, "inputs": call.inputs}).encode()
        answer = self._request("POST", f"{_path(call.model, call.version)}:predict", body, timeout)
        outputs = answer["outputs"]
        if not isinstance(outputs, dict):  # a signature's only output comes without its name
            outputs = {call.outputs[0]: outputs}
        _check_outputs(call, outputs)
        return [_array_of(outputs[name]) for name in call.outputs]

    def status(self, model: str, version: int | None, timeout: float) -> list[dict[str, Any]]:
        answer = self._request("GET", _path(model, version), None, timeout)
        return [
            {
                "version": int(entry["version"]),
                "state": entry["state"],
                "code": entry["status"]["error_code"],
                "message": entry["status"]["error_message"],
            }
            for entry in answer["model_version_status"]
        ]

    def close(self) -> None:
        self._pool.close()

    def _request(self, method: str, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        try:
            response = self._pool.request(method, path, body=body, timeout=urllib3.Timeout(total=timeout))
        except urllib3.exceptions.NewConnectionError as error:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, str(error)) from error
        except urllib3.exceptions.TimeoutError as error:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, str(error)) from error
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = {"error": response.data[:200].decode("utf-8", "replace")}
        if response.status != 200:
            code = _HTTP_CODES.get(response.status, grpc.StatusCode.UNKNOWN)
            raise StatusError(code, answer.get("error", f"HTTP {response.status}"))
        return answer


def _check_outputs(call: Call, outputs: Container[str]) -> None:
    for name in call.outputs:
        if name not in outputs:
            raise StatusError(
                grpc.StatusCode.INTERNAL,
                f"signature {call.signature} of {call.model} answered no output {name!r}",
            )


def _path(model: str, version: int | None) -> str:
    path = f"/v1/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def _array_of(values: list[Any]) -> np.ndarray:
    first: Any = values
    while isinstance(first, list) and first:
        first = first[0]
    return np.array(values, dtype=object if isinstance(first, str) else np.float32)
