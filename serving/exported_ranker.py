"""What an exported version of a chatbot's ranker says of itself (`trainer.requests.tower_export`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_store.request_schema import RequestFeature, from_json, in_requests
from serving.newest_version import read_newest

WITH, WITHOUT = "rank", "rank_without_query"
"""Its signatures; a ranker without a query tower has the first alone."""


@dataclass(frozen=True)
class ExportedRanker:
    """
    Attributes:
        features: what a request brings beside the query; of a ranker without a query tower, all of the requests' data.
        query: what the query's vector is called among the inputs; "" is without.
        width: of that vector. adapter_version: of the reasoner that it was trained with.
        omega: ω of Eq. 4, the weight of user and intent.
        intents: the version of the knowledge base.
    """

    model: str
    version: int
    features: tuple[RequestFeature, ...]
    query: str
    width: int
    adapter_version: str
    omega: float
    intents: str


def newest(folder: Path) -> ExportedRanker:
    """Of the newest version under ``folder``.

    Raises:
        DataError: there is none, or it is of another kind.
    """
    return read_newest(folder, _read, "a chatbot's ranker")


def _read(told: dict[str, Any]) -> ExportedRanker:
    towers = told["config"]["towers"]
    query = towers["query"] if WITHOUT in told["signatures"] else ""
    features = [feature for feature in in_requests(from_json(told["features"])) if feature.name != query]
    return ExportedRanker(
        told["model"], told["version"], tuple(features), query, told["query"].get("width", 0),
        told["query"].get("adapter_version", ""), towers["omega"] if query else 1.0, told["intents"] or "",
    )  # fmt: skip
