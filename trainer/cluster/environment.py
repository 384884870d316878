"""TF_CONFIG: which cluster this process belongs to, and as what. TensorFlow is not imported here."""

from __future__ import annotations

import json
import os


def from_environment() -> dict | None:
    """TF_CONFIG, or None where it is not set. Raises ValueError when it is not a cluster and a task."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        tf_config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG is not JSON ({error}): {text[:200]!r}") from None
    for field in ("cluster", "task"):
        if not isinstance(tf_config, dict) or not isinstance(tf_config.get(field), dict):
            raise ValueError(f"TF_CONFIG: {field!r} must be an object, in {text[:200]!r}")
    return tf_config
