"""Where the public data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT = "../shared/data"
"""As the configs have it: ``${ANTIPHON_DATA:-../shared/data}``, relative to the folder one stands in."""


def folder() -> Path:
    """``ANTIPHON_DATA``, else `DEFAULT`."""
    return Path(os.environ.get("ANTIPHON_DATA") or DEFAULT)
