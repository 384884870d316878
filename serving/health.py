"""gRPC's standard health service (`grpc.health.v1.Health`), as `--enable_grpc_healthcheck_service` adds it.

The server as a whole ("") and each of its services serve from when the ports open, which is after the models are
loaded. `Watch` is not there: a watcher would hold a thread, and clients take UNIMPLEMENTED as healthy.
"""

from __future__ import annotations

from collections.abc import Collection

import grpc

from feature_store.descriptors import messages

SERVICE = "grpc.health.v1.Health"
SERVING = 1
_CLASSES = messages(
    "antiphon.health",
    {"HealthCheckRequest": [("service", 1, "string")], "HealthCheckResponse": [("status", 1, "int32")]},
)
HealthCheckRequest = _CLASSES["HealthCheckRequest"]
HealthCheckResponse = _CLASSES["HealthCheckResponse"]


def add_to(server: grpc.Server, services: Collection[str]) -> None:
    """Has `server` answer `Check` for itself and these services; of another one NOT_FOUND."""

    def check(request: HealthCheckRequest, context: grpc.ServicerContext) -> HealthCheckResponse:
        if request.service and request.service not in (SERVICE, *services):
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        return HealthCheckResponse(status=SERVING)

    handler = grpc.unary_unary_rpc_method_handler(
        check, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": handler}),))
