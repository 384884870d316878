"""When training ends: what is made of a log before it is trained on may read nothing later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def training_end(tables: Mapping[str, Any], end: str = "") -> int:
    """The first moment that is not training's, microseconds since 1970.

    Args:
        tables: their manifest. end: ISO 8601, UTC where it has no offset; "": where the data set's own test starts,
            else just after the log's last event.
    """
    if end:
        moment = datetime.fromisoformat(end)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    return tables["source"].get("test_start", tables["window"]["last"] + 1)
