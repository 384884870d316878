"""What a client's call can fail with: one class a kind of failure, under `ServingError`."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from serving.status import StatusError


@dataclass(frozen=True)
class Target:
    """Whom a call asks: a server's address ("host:port"), a model, and its version or label; neither is the newest."""

    address: str
    model: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        which = "its newest version"
        if self.version is not None:
            which = f"version {self.version}"
        elif self.label is not None:
            which = f"label {self.label}"
        return f"model {self.model} ({which}) at {self.address}"


class ServingError(Exception):
    """A call that failed.

    Attributes:
        target: the model, version or label, and address asked.
        code: gRPC's status code, over REST the one that its HTTP status stands for.
        message: the server's own words, or gRPC's where no server was reached.
        attempts: how often the call was tried.
    """

    def __init__(self, target: Target, code: grpc.StatusCode, message: str, attempts: int = 1):
        super().__init__(target, code, message, attempts)
        self.target = target
        self.code = code
        self.message = message
        self.attempts = attempts

    def __str__(self) -> str:
        tried = f" (tried {self.attempts} times)" if self.attempts > 1 else ""
        return f"{self.target}: {self.code.name}: {self.message}{tried}"


class Unavailable(ServingError):
    """The server cannot be reached, is ending, or its queue is full; each retry failed too."""


class DeadlineExceeded(ServingError):
    """The call's time was over. The server may have been at work on it, so it was not tried again."""


class InvalidArgument(ServingError):
    """The request does not fit the model's signature, or names no label that there is."""


class FailedPrecondition(ServingError):
    """The model is not in a state to answer; with batching also: other requests of the batch had other shapes."""


class NotFound(ServingError):
    """The server does not serve that model or version."""


class ResourceExhausted(ServingError):
    """The request is over a limit of the server, or the server holds as many as it may."""


_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
}


def failure(target: Target, error: StatusError, attempts: int) -> ServingError:
    """The error of the class that stands for `error`'s code; `ServingError` itself where none does."""
    return _BY_CODE.get(error.code, ServingError)(target, error.code, error.message, attempts)
