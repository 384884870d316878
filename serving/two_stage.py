"""Recommendations for a user by id, in two stages (Covington et al., 2016): retrieve candidates, then rank them.

One call reads the user's history from the online feature store, turns it into a vector (`embed_user`), searches the
retrieval index with it, and has the candidates scored (`score`). Everything after the first answer asks the version
that gave it: a vector means nothing to another version's index.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.client import Client
from serving.errors import NotFound
from serving.online_features import OnlineFeatures
from serving.prometheus import Counter
from serving.version_indexes import VersionIndexes

VIEW = "user_history"
_ROLLS = 3  # times a call begins again because its version was unloaded between two of its steps


@dataclass(frozen=True)
class Ranked:
    """What was recommended to a user.

    Attributes:
        items: (item, score), best first.
        version: that answered all of it.
        features: what became of the read of the user's features; see `serving.online_features.Rows`. Where it is not
            `READ` the history was taken to be empty: the answer is the same for every user, and may hold items seen.
        candidates: how many were ranked.
    """

    items: list[tuple[str, float]]
    version: int
    features: str
    candidates: int


class TwoStage:
    """Recommends through `client`'s server; threads may share it. It closes neither client nor features.

    Args:
        client: over gRPC, whose answers name their version.
        indexes: where the server is TensorFlow Serving: the versions' indexes, searched in this process. None: the
            embedded server is asked to search.

    Raises:
        ValueError: the client asks over REST.
    """

    def __init__(self, client: Client, features: OnlineFeatures, indexes: VersionIndexes | None = None):
        if client.rest:
            raise ValueError("client must ask over gRPC: REST does not say which version answers")
        self._client, self._features, self._indexes = client, features, indexes
        self.restarts = Counter("/antiphon/serving/two_stage_restarts", [])

    def retrieve_and_rank(
        self, user: str, k: int, n: int, *, exclude: Sequence[str] = (), timeout: float | None = None
    ) -> Ranked:
        """The `n` best of `k` candidates for `user`, none of which the user's history holds.

        Fewer come back where fewer are left. A user that the store does not know has an empty history.

        Args:
            exclude: further items to leave out.
            timeout: seconds for all of it, the client's own unless given.

        Raises:
            ValueError: `n` is below 1 or above `k`.
            ServingError: as of every call of `Client`; `NotFound` also where versions come and go faster than a call
                can end on one; `FailedPrecondition` where the version was exported without an index, and one with the
                code UNIMPLEMENTED where the server is TensorFlow Serving and no `indexes` were given.
            DataError: `indexes` has no whole index of the version.
        """
        if not 1 <= n <= k:
            raise ValueError(f"n must lie in 1..k ({k}), got {n}")
        end = time.monotonic() + (self._client.timeout if timeout is None else timeout)
        read = self._features.read(VIEW, [user], _left(end))
        history = read.rows[0]["history"]
        restarts = 0
        while True:
            embedded = self._client.predict(
                {"history": [["", *history]]}, "embed_user", ("embedding",), timeout=_left(end)
            )
            try:
                items = self._ranked(history, embedded.outputs["embedding"], embedded.version, k, exclude, end)
            except NotFound:
                restarts += 1
                if restarts > _ROLLS:
                    raise
                self.restarts.add(())
            else:
                return Ranked(items[:n], embedded.version, read.outcome, len(items))

    def _ranked(
        self, history: list[str], user: np.ndarray, version: int, k: int, exclude: Sequence[str], end: float
    ) -> list[tuple[str, float]]:
        seen = [[*history, *exclude]]
        if self._indexes is not None:
            found = self._indexes.search(version, user, k, seen)[0]
        else:
            answer = self._client.retrieve(user, k, seen, version=version, timeout=_left(end))
            found = answer.outputs["items"]
        candidates = [item for item in found[0] if item]
        if not candidates:
            return []
        inputs = {"history": [["", *history]], "candidates": [candidates]}
        scores = self._client.predict(inputs, "score", ("scores",), version=version, timeout=_left(end))
        row = scores.outputs["scores"][0].tolist()
        return sorted(zip(candidates, row, strict=True), key=lambda pair: -pair[1])


def _left(end: float) -> float:
    """Seconds until `end`; a moment where it is over, so that the call itself says so."""
    return max(end - time.monotonic(), 0.001)
