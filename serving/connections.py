"""Connections that the clients of a process share: one transport for each server, however many clients ask it."""

from __future__ import annotations

import threading

from serving.grpc_transport import Grpc
from serving.rest_transport import Rest
from serving.tls import ClientTls
from serving.transport import Transport

Server = tuple[str, bool, ClientTls | None]


class Connections:
    """Transports by server, each closed when the last who took it has given it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Server, tuple[Transport, int]] = {}

    def take(self, server: Server) -> Transport:
        """The transport to (address, whether by REST, TLS)."""
        with self._lock:
            transport, users = self._open.get(server) or (_connect(*server), 0)
            self._open[server] = transport, users + 1
        return transport

    def give_back(self, server: Server) -> None:
        with self._lock:
            transport, users = self._open.pop(server)
            if users > 1:
                self._open[server] = transport, users - 1
        if users == 1:
            transport.close()


SHARED = Connections()


def _connect(address: str, rest: bool, tls: ClientTls | None) -> Transport:
    return Rest(address) if rest else Grpc(address, tls)
