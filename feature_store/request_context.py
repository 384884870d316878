"""What a caller tells of a request beside the model's inputs: whom it is for, and what it saw."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HEADER = "antiphon-context"  # of gRPC's metadata and of HTTP; TF Serving passes over it
MAX_BYTES = 8192  # gRPC refuses more metadata unless both ends are told otherwise


@dataclass(frozen=True)
class RequestContext:
    """One entry a row of the request's batch, where there are any.

    Attributes:
        user_ids: the user of each row.
        features: features that were used but are no inputs of the model: name → a value for each row.
        exposures: the experiments each row was part of: experiment → arm.
    """

    user_ids: Sequence[str] = ()
    features: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    exposures: Sequence[Mapping[str, str]] = ()

    def to_header(self) -> str:
        """ASCII text that `from_header` reads.

        Raises:
            ValueError: it takes more than `MAX_BYTES`; ask in smaller batches.
        """
        parts = {"user_ids": self.user_ids, "features": self.features, "exposures": self.exposures}
        text = json.dumps({name: part for name, part in parts.items() if part}, separators=(",", ":"))
        if len(text) > MAX_BYTES:
            raise ValueError(f"a request's context must take at most {MAX_BYTES} bytes, received {len(text)}")
        return text

    @classmethod
    def from_header(cls, text: str | bytes) -> RequestContext:
        """The context of a header; an empty one where the header is none of `to_header`: a caller may send anything."""
        try:
            parts = json.loads(text or "{}")
            users, exposures = parts.get("user_ids", []), parts.get("exposures", [])
            features = {name: list(values) for name, values in parts.get("features", {}).items()}
            rows = tuple({str(key): str(arm) for key, arm in row.items()} for row in exposures)
            return cls(tuple(map(str, users)), features, rows)
        except (ValueError, TypeError, AttributeError):
            return cls()
