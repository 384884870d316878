"""What a user sets about the embedded server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeConfig:
    host: str = "127.0.0.1"
    grpc_port: int = 8500  # 0 takes any free port
    rest_port: int = 8501  # 0 takes any free port
    poll_seconds: float = (
        1.0  # how often the model's folder is searched for new versions; 0: only at the start
    )
    threads: int = 16  # requests worked on at once, for each of gRPC and REST
    max_request_bytes: int = 64 * 1024 * 1024  # a larger request is refused
    drain_seconds: float = 10.0  # how long requests under way may take to end once the server is told to stop

    def __post_init__(self) -> None:
        for field in ("grpc_port", "rest_port"):
            port = getattr(self, field)
            if not 0 <= port <= 65535:
                raise ValueError(f"serve.{field} must lie in 0..65535, got {port}")
        for field in ("poll_seconds", "drain_seconds"):
            if getattr(self, field) < 0:
                raise ValueError(f"serve.{field} must not be negative, got {getattr(self, field)}")
        for field in ("threads", "max_request_bytes"):
            if getattr(self, field) < 1:
                raise ValueError(f"serve.{field} must be at least 1, got {getattr(self, field)}")
