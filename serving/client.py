"""A client for the exported recommender, or any model, on the embedded server or on TF Serving.

Importing it does not import TensorFlow (which would take seconds): the messages come from `serving.wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from serving import errors, wire_arrays
from serving.connections import SHARED
from serving.errors import Target
from serving.retry import Retry
from serving.status import StatusError
from serving.tls import ClientTls
from serving.transport import Answer, Call, Transport

T = TypeVar("T")


class Client:
    """Asks one model of a server; use it as a context manager. Threads may share one client.

    Clients of one process that ask the same server share its connections, whichever model or version they ask.

    Args:
        address: "host:port" of the server's gRPC port, or of its REST port with `rest`. Where the name stands for
            several machines, calls over gRPC go to each in turn.
        model: the model's name.
        version: the version to ask.
        label: the label of the version to ask, instead; neither asks the newest.
        rest: whether to use REST instead of gRPC.
        timeout: seconds a call may take, retries included; then it fails with `DeadlineExceeded`. Each method takes
            another for its one call.
        retries: how often a call, all of which only read, is tried again after UNAVAILABLE; see `Retry`.
        tls: how to trust the server, over gRPC; None: no encryption.

    Every method raises a `serving.errors.ServingError` where the server cannot be reached or refuses the request, and
    ValueError for arguments that are wrong whatever the server.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        *,
        label: str | None = None,
        rest: bool = False,
        timeout: float = 10.0,
        retries: int = 8,
        tls: ClientTls | None = None,
    ):
        if ":" not in address:
            raise ValueError(f"address must be host:port, got {address!r}")
        if version is not None and label is not None:
            raise ValueError(f"version and label must not both be given, got {version} and {label!r}")
        if rest and tls is not None:
            raise ValueError("tls must be None with rest, which TF Serving answers without it")
        self._target = Target(address, model, version, label)
        self._timeout = _positive(timeout)
        self._retry = Retry(retries)
        self._server = (address, rest, tls)
        self._open: Transport | None = SHARED.take(self._server)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives its connections back; calls after this are a ValueError."""
        if self._open is not None:
            self._open = None
            SHARED.give_back(self._server)

    def predict(
        self,
        inputs: Mapping[str, Any],
        signature: str = "",
        outputs: Sequence[str] = (),
        *,
        timeout: float | None = None,
    ) -> Answer:
        """Runs a signature.

        Args:
            inputs: input → array, or nested lists of strings, bytes, bools, ints (sent as int64) or floats (float32).
            signature: "" runs the default one.
            outputs: the outputs wanted; none means all. Over gRPC the server computes no others.

        Returns:
            The outputs and the version that answered. Over REST numbers are int64 or float32, a signature's only output
            is called "outputs" where `outputs` does not name it, and the version is the one asked for.
        """
        arrays = {name: wire_arrays.from_values(name, values) for name, values in inputs.items()}
        call = Call(self._target, signature, arrays, tuple(outputs))
        return self._call(lambda transport, left: transport.predict(call, left), timeout)

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        *,
        knowledge: tuple[np.ndarray, np.ndarray] | None = None,
        timeout: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The best `k` items for each history (item ids, oldest first) that it does not hold, best first.

        Fewer come back where fewer are left. The model answers at most the K it was exported with.

        Args:
            knowledge: what is known of the users, for a model that reads it: vectors (B, m, D) and a mask (B, m), all
                False for a user of whom nothing is known.

        Raises:
            ValueError: `k` is below 1 or above the model's K.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if not histories:
            return []
        wanted = ("items", "scores")
        inputs, signature = {"history": _histories(histories)}, "serving_default"
        if knowledge is not None:
            signature, (vectors, mask) = "recommend_known", knowledge
            inputs |= {"knowledge": np.asarray(vectors, np.float32), "knowledge_mask": np.asarray(mask, bool)}
        answer = self.predict(inputs, signature, wanted, timeout=timeout).outputs
        items, scores = answer["items"], answer["scores"]
        if k > items.shape[1]:
            raise ValueError(
                f"k must be at most {items.shape[1]}, which model {self._target.model} answers, got {k}"
            )
        return [
            [(item, float(score)) for item, score in zip(row, row_scores, strict=True) if item][:k]
            for row, row_scores in zip(items, scores, strict=True)
        ]

    def score(
        self,
        histories: Sequence[Sequence[str]],
        candidates: Sequence[Sequence[str]],
        *,
        timeout: float | None = None,
    ) -> list[list[float]]:
        """The score of each candidate after its history; the lowest float for an unknown item.

        Raises:
            ValueError: there are not as many lists of candidates as histories.
        """
        if len(histories) != len(candidates):
            raise ValueError(f"{len(candidates)} lists of candidates for {len(histories)} histories")
        if not histories:
            return []
        inputs = {"history": _histories(histories), "candidates": _rows(candidates)}
        scores = self.predict(inputs, "score", ("scores",), timeout=timeout).outputs["scores"]
        return [row[: len(asked)].tolist() for row, asked in zip(scores, candidates, strict=True)]

    def embed_user(self, histories: Sequence[Sequence[str]], *, timeout: float | None = None) -> np.ndarray:
        """One vector for each history, float32 (B, d)."""
        if not histories:
            return np.empty((0, 0), np.float32)
        inputs = {"history": _histories(histories)}
        return self.predict(inputs, "embed_user", ("embedding",), timeout=timeout).outputs["embedding"]

    def status(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """`version`, `state`, `code` and `message` of the version asked, or of every version the server knows.

        As TF Serving answers it, a label is not looked at.
        """
        return self._call(lambda transport, left: transport.status(self._target, left), timeout)

    def _call(self, attempt: Callable[[Transport, float], T], timeout: float | None) -> T:
        transport = self._open
        if transport is None:
            raise ValueError(f"the client of {self._target} is closed")

        def failed(error: StatusError, attempts: int) -> Exception:
            return errors.failure(self._target, error, attempts)

        seconds = self._timeout if timeout is None else _positive(timeout)
        return self._retry.run(lambda left: attempt(transport, left), seconds, failed)


def _positive(timeout: float) -> float:
    if timeout <= 0:
        raise ValueError(f"timeout must be positive, got {timeout}")
    return timeout


def _histories(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Histories of one length, with one "" in front.

    A server that batches requests of different lengths pads each with its own first value
    (`pad_variable_length_inputs`); the model drops "", while it would take an item for one more event.
    """
    return [["", *row] for row in _rows(rows)]


def _rows(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of one length, at least 1: "" at the end, which the model drops."""
    length = max([1, *map(len, rows)])
    return [[*row, *[""] * (length - len(row))] for row in rows]
