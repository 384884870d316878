"""What a client asks of a server and what it gets, whichever way: `grpc_transport` and `rest_transport`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from serving.errors import Target
from serving.status import invalid_argument


@dataclass(frozen=True)
class Call:
    """A signature to run.

    Attributes:
        target: the model and its version or label.
        signature: its name; "" is the default one.
        inputs: an array for each input.
        outputs: the outputs wanted; none means all.
        context: a `RequestContext` as its header, for the server's log; "": none.
    """

    target: Target
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...] = ()
    context: str = ""


@dataclass(frozen=True)
class Answer:
    """A signature's outputs.

    Attributes:
        outputs: an array for each; strings as objects.
        version: the version that answered. REST does not say it: there it is the one asked for, None for the newest
            and for a label.
    """

    outputs: dict[str, np.ndarray]
    version: int | None


class Transport(Protocol):
    """Both ways answer alike, fail with a `StatusError`, and may be shared by threads."""

    def predict(self, call: Call, timeout: float) -> Answer: ...

    def retrieve(self, call: Call, timeout: float) -> Answer:
        """As `predict`, of the embedded server's retrieval service; over gRPC alone."""

    def status(self, target: Target, timeout: float) -> list[dict[str, Any]]:
        """`version`, `state`, `code` and `message` of each version."""

    def close(self) -> None: ...


def wanted(call: Call, answered: Collection[str]) -> Collection[str]:
    """The names of the outputs to give back.

    Raises:
        StatusError: INVALID_ARGUMENT for one that the signature does not answer.
    """
    for name in call.outputs:
        if name not in answered:
            raise invalid_argument(f"signature {call.signature} of {call.target.model} answers no output {name!r}")
    return call.outputs or answered
