"""What a request tells of its user's group: the features' names, and their values as they are looked up online."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from feature_store.priors import SEQUENCE, TOP_CATEGORIES
from feature_store.request_schema import RequestFeature

CODE, PRIOR = "group_", "prior_"
"""What the names begin with of a level's code, where the level's number follows, and of a group's attribute."""
GROUP_SEQUENCE, GROUP_CATEGORIES = "group_sequence", "prior_categories"
_NOTHING = ("", -1)


def of_group(
    user: Mapping[str, Any], prior: Mapping[str, Any], features: Iterable[RequestFeature]
) -> dict[str, Any]:
    """The group's features of one request by name, without those of which nothing is known: what
    `feature_store.conversions` writes for training, in the form that `feature_store.request_inputs` takes.

    Args:
        user, prior: the rows of the user and of its group in the views of `feature_store.group_views`.
        features: of the requests that the model was trained on; others are left out.
    """
    found = {f"{CODE}{level}": str(code) for level, code in enumerate(user["codes"][: user["level"]], 1)}
    found |= {PRIOR + name: value for name, value in prior.items() if not isinstance(value, list)}
    known = {name: value for name, value in found.items() if value not in _NOTHING and not _nan(value)}
    told = {}
    for feature in features:
        if feature.name == GROUP_SEQUENCE:
            told[feature.name] = prior[SEQUENCE][-feature.length :]
        elif feature.name == GROUP_CATEGORIES:
            told[feature.name] = prior[TOP_CATEGORIES][: feature.length]
        elif feature.name in known:
            told[feature.name] = known[feature.name]
    return told


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
