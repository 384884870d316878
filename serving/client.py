"""A client for the exported recommender, on the embedded server or on TF Serving.

Importing it does not import TensorFlow (which would take seconds): the messages come from `serving.wire`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np

from serving.status import StatusError
from serving.transport import Call, Grpc, Rest, Transport

T = TypeVar("T")

_FIRST_WAIT = 0.05  # seconds before the first retry; doubled before each further one


class ServingError(Exception):
    """A call that failed: the model and version asked, gRPC's status code, and the server's message."""

    def __init__(self, model: str, version: int | None, code: grpc.StatusCode, message: str):
        which = "its newest version" if version is None else f"version {version}"
        super().__init__(f"model {model} ({which}): {code.name}: {message}")
        self.model = model
        self.version = version
        self.code = code
        self.message = message


class Client:
    """Asks one model of a server; use it as a context manager. Threads may share one client.

    Args:
        address: "host:port" of the server's gRPC port, or of its REST port with `rest`.
        model: the model's name.
        version: the version to ask; None asks the newest.
        rest: whether to use REST instead of gRPC.
        timeout: seconds a call may take, retries included; then it fails with DEADLINE_EXCEEDED.
        retries: how often a call, all of which are idempotent, is tried again after UNAVAILABLE.

    Every method raises `ServingError` where the server cannot be reached or refuses the request.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        *,
        rest: bool = False,
        timeout: float = 10.0,
        retries: int = 4,
    ):
        if ":" not in address:
            raise ValueError(f"address must be host:port, got {address!r}")
        if timeout <= 0 or retries < 0:
            raise ValueError(
                f"timeout must be positive and retries not negative, got {timeout} and {retries}"
            )
        self._transport: Transport = Rest(address) if rest else Grpc(address)
        self._model = model
        self._version = version
        self._timeout = timeout
        self._retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def recommend(self, histories: Sequence[Sequence[str]], k: int) -> list[list[tuple[str, float]]]:
        """The best `k` items for each history (item ids, oldest first) that it does not hold, best first.

        Fewer come back where fewer are left. The model answers at most the K it was exported with.

        Raises:
            ValueError: `k` is below 1 or above the model's K.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if not histories:
            return []
        items, scores = self._predict("serving_default", {"history": histories}, ("items", "scores"))
        if k > items.shape[1]:
            raise ValueError(
                f"k must be at most {items.shape[1]}, which model {self._model} answers, got {k}"
            )
        return [
            [(item, float(score)) for item, score in zip(row, row_scores, strict=True) if item][:k]
            for row, row_scores in zip(items, scores, strict=True)
        ]

    def score(
        self, histories: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The score of each candidate after its history; the lowest float for an unknown item.

        Raises:
            ValueError: there are not as many lists of candidates as histories.
        """
        if len(histories) != len(candidates):
            raise ValueError(f"{len(candidates)} lists of candidates for {len(histories)} histories")
        if not histories:
            return []
        inputs = {"history": histories, "candidates": candidates}
        (scores,) = self._predict("score", inputs, ("scores",))
        return [row[: len(asked)].tolist() for row, asked in zip(scores, candidates, strict=True)]

    def embed_user(self, histories: Sequence[Sequence[str]]) -> np.ndarray:
        """One vector for each history, float32 (B, d)."""
        if not histories:
            return np.empty((0, 0), np.float32)
        (embedding,) = self._predict("embed_user", {"history": histories}, ("embedding",))
        return embedding

    def status(self) -> list[dict[str, Any]]:
        """`version`, `state`, `code` and `message` of every version of the model the server knows."""
        return self._call(lambda left: self._transport.status(self._model, self._version, left))

    def _predict(
        self, signature: str, inputs: dict[str, Sequence[Sequence[str]]], outputs: tuple[str, ...]
    ) -> list[np.ndarray]:
        call = Call(
            self._model,
            self._version,
            signature,
            {name: _pad(rows) for name, rows in inputs.items()},
            outputs,
        )
        return self._call(lambda left: self._transport.predict(call, left))

    def _call(self, attempt: Callable[[float], T]) -> T:
        deadline = time.monotonic() + self._timeout
        wait = _FIRST_WAIT
        retries = self._retries
        while True:
            try:
                return attempt(max(deadline - time.monotonic(), 0.001))
            except StatusError as error:
                again = error.code is grpc.StatusCode.UNAVAILABLE and retries > 0
                if not again or time.monotonic() + wait >= deadline:
                    raise ServingError(self._model, self._version, error.code, error.message) from error
            time.sleep(wait)
            wait *= 2
            retries -= 1


def _pad(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of one length, at least 1: "" at the end, which the model drops."""
    length = max([1, *map(len, rows)])
    return [[*row, *[""] * (length - len(row))] for row in rows]
