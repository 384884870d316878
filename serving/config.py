"""What a user sets about the embedded server."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import above, require


@dataclass(frozen=True)
class ServeConfig:
    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    poll_seconds: float = 1.0  # how often the model's folder is searched for new versions

    def __post_init__(self) -> None:
        for name in ("grpc_port", "rest_port"):
            port = getattr(self, name)
            require(0 <= port < 65536, name, "must be a port, from 0 to 65535", port)
        above("poll_seconds", self.poll_seconds, 0)
