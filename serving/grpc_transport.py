"""The gRPC way to a server."""

from __future__ import annotations

from typing import Any

import grpc

from feature_store.request_context import HEADER
from serving import wire, wire_arrays
from serving.errors import Target
from serving.status import StatusError, from_number
from serving.tls import ClientTls
from serving.transport import Answer, Call, wanted

_CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A name with several addresses, such as a headless Service's: each call goes to the next.
    ("grpc.lb_policy_name", "round_robin"),
    # A machine that vanished closes no connection. Without this, calls would run into their deadlines for minutes.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class Grpc:
    """One channel to `address` ("host:port"), shared by every call and thread."""

    def __init__(self, address: str, tls: ClientTls | None = None):
        if tls is None:
            self._channel = grpc.insecure_channel(address, options=_CHANNEL)
        else:
            self._channel = grpc.secure_channel(address, tls.credentials(), options=_CHANNEL)
        self._predict = self._predicting("/tensorflow.serving.PredictionService/Predict")
        self._retrieve = self._predicting(f"/{wire.RETRIEVAL}/Retrieve")
        self._status = self._channel.unary_unary(
            "/tensorflow.serving.ModelService/GetModelStatus",
            request_serializer=wire.GetModelStatusRequest.SerializeToString,
            response_deserializer=wire.GetModelStatusResponse.FromString,
        )

    def _predicting(self, method: str) -> grpc.UnaryUnaryMultiCallable:
        return self._channel.unary_unary(
            method,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )

    def predict(self, call: Call, timeout: float) -> Answer:
        return self._ask(self._predict, call, timeout)

    def retrieve(self, call: Call, timeout: float) -> Answer:
        return self._ask(self._retrieve, call, timeout)

    @staticmethod
    def _ask(method: grpc.UnaryUnaryMultiCallable, call: Call, timeout: float) -> Answer:
        request = wire.PredictRequest(output_filter=call.outputs)
        _fill(request.model_spec, call.target)
        request.model_spec.signature_name = call.signature
        for name, array in call.inputs.items():
            wire_arrays.fill(request.inputs[name], array)
        metadata = ((HEADER, call.context),) if call.context else None
        response = _call(method, request, timeout, metadata)
        outputs = {
            name: wire_arrays.from_tensor(name, response.outputs[name]) for name in wanted(call, response.outputs)
        }
        spec = response.model_spec
        return Answer(outputs, spec.version.value if spec.HasField("version") else call.target.version)

    def status(self, target: Target, timeout: float) -> list[dict[str, Any]]:
        request = wire.GetModelStatusRequest()
        _fill(request.model_spec, target)
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


def _fill(spec: Any, target: Target) -> None:
    spec.name = target.model
    if target.version is not None:
        spec.version.value = target.version
    elif target.label is not None:
        spec.version_label = target.label


def _call(
    method: grpc.UnaryUnaryMultiCallable,
    request: Any,
    timeout: float,
    metadata: tuple[tuple[str, str], ...] | None = None,
) -> Any:
    try:
        return method(request, timeout=timeout, metadata=metadata)
    except grpc.RpcError as error:
        raise StatusError(error.code(), error.details() or "") from error
