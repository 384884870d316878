"""How likely a user buys each candidate, with what is known of its group looked up online (ChoirRec, section 4.1).

The caller brings what it knows of the user and the situation; codes, attributes and items of the user's group come from
the online store, of the version of the groups that the model was trained with. A store that is late or down costs the
group's features, not the answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.group_request import of_group
from feature_store.group_views import GROUP_PRIOR, USER_GROUP, GroupStore
from feature_store.request_inputs import inputs
from feature_store.request_schema import CANDIDATES, RequestFeature, from_json, in_requests
from serving.client import Client
from serving.newest_version import read_newest
from serving.online_features import DEADLINE, READ, OnlineFeatures

PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class ExportedConversion:
    """What an exported version says of itself (`trainer.requests.export`).

    Attributes:
        features: what a request brings, those of groups among them.
        groups: the version of the groups it was trained with; "" is none.
    """

    model: str
    version: int
    signature: str
    features: tuple[RequestFeature, ...]
    groups: str


@dataclass(frozen=True)
class Converted:
    """The answer for one user.

    Attributes:
        probabilities: of the candidates, in their order, calibrated.
        told: what else the model tells of each; of ChoirRec ``fusion``, the group channel's share, and ``logits``.
        groups: what became of the reads of the group; see `serving.online_features.Rows`. Where it is not `READ` the
            model answered without what had not come.
    """

    probabilities: list[float]
    told: dict[str, list[float]]
    version: int | None
    groups: str


class Conversions:
    """Asks `client`'s server; threads may share it. It closes neither client nor features.

    Args:
        features: of the groups that the version was trained with (`open_groups`); None where it reads none.
    """

    def __init__(self, client: Client, features: OnlineFeatures | None, exported: ExportedConversion) -> None:
        self._client, self._features, self._exported = client, features, exported

    def predict(
        self, user: str, known: Mapping[str, Any], candidates: Sequence[str], *, timeout: float | None = None
    ) -> Converted:
        """The chance that ``user`` buys each of the candidates it clicks.

        Args:
            known: by feature what is known of the user and the situation; None and what is left out is missing.
            timeout: seconds for all of it, the client's own unless given.
        Raises:
            ValueError: ``known`` has a feature that the model does not know, or there is no candidate.
            ServingError: as `Client.predict`.
        """
        exported = self._exported
        unknown = sorted(set(known) - {feature.name for feature in exported.features})
        if unknown:
            raise ValueError(f"known must have features of {exported.model!r} alone, received {unknown}")
        if not candidates:
            raise ValueError("candidates must hold at least one item, received []")
        end = time.monotonic() + (self._client.timeout if timeout is None else timeout)
        group, outcome = self._group(user, end)
        asked = inputs({**group, **known}, exported.features)
        asked[CANDIDATES] = np.array([[item.encode() for item in candidates]], "S")
        answer = self._client.predict(asked, exported.signature, timeout=max(end - time.monotonic(), 0.001))
        told = {name: values[0].tolist() for name, values in answer.outputs.items()}
        return Converted(told.pop(PROBABILITIES), told, answer.version, outcome)

    def _group(self, user: str, end: float) -> tuple[dict[str, Any], str]:
        if self._features is None:
            return {}, READ
        found = self._features.read(USER_GROUP, [user], end - time.monotonic())
        prior = self._features.read(GROUP_PRIOR, [found.rows[0]["group"]], end - time.monotonic())
        outcome = found.outcome if found.outcome != READ else prior.outcome
        return of_group(found.rows[0], prior.rows[0], self._exported.features), outcome


def newest(folder: Path) -> ExportedConversion:
    """Of the newest version under ``folder`` (``export/<model>``).

    Raises:
        DataError: there is none, or it is of another kind.
    """
    return read_newest(folder, _read, "a model of conversion")


def open_groups(priors: Path, exported: ExportedConversion, deadline: float = DEADLINE) -> OnlineFeatures | None:
    """The online features of the groups that lie in a run's ``priors`` folder; None where the version reads none.

    Args:
        deadline: seconds that each of the two reads may take.
    Raises:
        DataError: they are of another version than the model was trained with, or the store is not there.
    """
    if not exported.groups:
        return None
    return OnlineFeatures(GroupStore(priors / "features", exported.groups, deadline), deadline)


def _read(told: dict[str, Any]) -> ExportedConversion:
    features, groups = in_requests(from_json(told["features"])), told["groups"]
    return ExportedConversion(
        told["model"], told["version"], told["signature"], tuple(features), groups["version"] if groups else ""
    )
