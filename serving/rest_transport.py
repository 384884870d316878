"""The REST way to a server."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import grpc
import urllib3

from feature_store.request_context import HEADER
from serving import wire_arrays
from serving.errors import Target
from serving.status import StatusError
from serving.transport import Answer, Call, wanted

ONLY_OUTPUT = "outputs"  # the name of a signature's only output where the call does not give it

_CHUNK_BYTES = 1 << 16
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,  # a proxy before a server that is gone
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Rest:
    """Kept-alive connections to `address` ("host:port"), shared by every call and thread."""

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self._pool = urllib3.HTTPConnectionPool(host.strip("[]"), int(port), maxsize=16, retries=False)

    def predict(self, call: Call, timeout: float) -> Answer:
        inputs = {name: wire_arrays.to_json(array) for name, array in call.inputs.items()}
        body = json.dumps({"signature_name": call.signature, "inputs": inputs}).encode()
        headers = {HEADER: call.context} if call.context else None
        outputs = self._request("POST", f"{_path(call.target)}:predict", body, "outputs", timeout, headers)
        if not isinstance(outputs, dict):  # a signature's only output comes without its name
            outputs = {call.outputs[0] if call.outputs else ONLY_OUTPUT: outputs}
        arrays = {name: wire_arrays.from_json(name, outputs[name]) for name in wanted(call, outputs)}
        return Answer(arrays, call.target.version)

    def retrieve(self, call: Call, timeout: float) -> Answer:
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, "retrieval is answered over gRPC alone")

    def status(self, target: Target, timeout: float) -> list[dict[str, Any]]:
        return [
            {
                "version": int(entry["version"]),
                "state": entry["state"],
                "code": entry["status"]["error_code"],
                "message": entry["status"]["error_message"],
            }
            for entry in self._request("GET", _path(target), None, "model_version_status", timeout)
        ]

    def close(self) -> None:
        self._pool.close()

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        field: str,
        timeout: float,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The field of the answer's JSON object."""
        try:
            status, data = self._exchange(method, path, body, timeout, headers)
        except urllib3.exceptions.NewConnectionError as error:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, str(error)) from error
        except urllib3.exceptions.TimeoutError as error:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, str(error)) from error
        except urllib3.exceptions.HTTPError as error:  # the connection broke off
            raise StatusError(grpc.StatusCode.UNAVAILABLE, str(error)) from error
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        if status == 200 and field in answer:
            return answer[field]
        code = _CODES.get(status, grpc.StatusCode.UNKNOWN if status != 200 else grpc.StatusCode.INTERNAL)
        raise StatusError(code, answer.get("error", f"HTTP {status}: {data[:200].decode('utf-8', 'replace')}"))

    def _exchange(
        self, method: str, path: str, body: bytes | None, timeout: float, headers: dict[str, str] | None
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + timeout
        response = self._pool.request(
            method, path, body=body, headers=headers, timeout=urllib3.Timeout(total=timeout), preload_content=False
        )
        chunks = []
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                chunks.append(chunk)
                if time.monotonic() > deadline:  # urllib3's limit holds for each read, not for all of them
                    raise urllib3.exceptions.ReadTimeoutError(self._pool, path, f"no whole answer in {timeout:g} s")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return response.status, b"".join(chunks)


def _path(target: Target) -> str:
    path = f"/v1/models/{quote(target.model, safe='')}"
    if target.version is not None:
        return f"{path}/versions/{target.version}"
    return path if target.label is None else f"{path}/labels/{quote(target.label, safe='')}"
