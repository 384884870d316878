"""A request's values as the inputs of an exported ranker, online and for its warmup alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from feature_store.request_schema import RequestFeature

_NOTHING = {"string": "", "int64": -1, "float32": 0.0}
"""What fills a list up before its oldest value."""


def array(value: Any, feature: RequestFeature) -> np.ndarray:
    """Of a feature, one request's value as an input, a batch of one; None is a missing value.

    A list has all that the feature declares, the newest last: a server that batches would pad shorter ones behind.
    """
    value = feature.field.empty() if value is None else value
    if feature.kind in ("bag", "sequence"):
        kept = value[-feature.length :]
        value = [_NOTHING[feature.dtype]] * (feature.length - len(kept)) + kept
    if feature.dtype != "string":
        return np.array([value], feature.dtype)
    if feature.kind == "single":
        return np.array([value.encode()], "S")
    return np.array([[one.encode() for one in value]], "S")


def inputs(row: Mapping[str, Any], features: Iterable[RequestFeature]) -> dict[str, np.ndarray]:
    """All features of one request by name; ``row`` has a value of each that is not missing."""
    return {feature.name: array(row.get(feature.name), feature) for feature in features}
