"""What the newest exported version under a folder says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from feature_store.errors import DataError

T = TypeVar("T")


def read_newest(folder: Path, parse: Callable[[dict[str, Any]], T], kind: str) -> T:
    """The manifest of the newest version under ``folder``, as ``parse`` reads it.

    Args:
        kind: what ``parse`` reads, for the error.
    Raises:
        DataError: there is no version, or ``parse`` finds something missing.
    """
    versions = [int(each.name) for each in folder.glob("[0-9]*") if each.name.isdigit()] if folder.is_dir() else []
    if not versions:
        raise DataError("there is no exported version; `antiphon export` makes one", file=folder)
    path = folder / str(max(versions)) / "assets.extra" / "manifest.json"
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"is not the manifest of {kind}", file=path, value=repr(error)) from error
