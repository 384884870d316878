"""What a row came to for each user, kept beside the results: comparisons are made of that alone, so that a row which is
done on one machine can be compared with those that were done on another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FOLDER = "users"
_SHARED, _ROW = "shared/", "row/"


class Kept:
    """One ``.npz``: arrays that are the same for all rows, such as the users' ids, and one array a row."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, row: str, values: np.ndarray, shared: Mapping[str, np.ndarray]) -> None:
        """Adds a row, or puts it in the place of what it was. Rows with other shared arrays are dropped: they are of
        other users or targets, and nothing can be compared with them."""
        held = self._arrays()
        ours = {_SHARED + name: array for name, array in shared.items()}
        theirs = {name: array for name, array in held.items() if name.startswith(_SHARED)}
        same = theirs.keys() == ours.keys() and all(np.array_equal(theirs[name], ours[name]) for name in ours)
        rows = {name: array for name, array in held.items() if name.startswith(_ROW)} if same else {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}.npz")
        np.savez_compressed(scratch, **ours, **dict(sorted({**rows, _ROW + row: values}.items())))
        scratch.rename(self.path)

    def rows(self) -> frozenset[str]:
        """Names of what is there."""
        if not self.path.exists():
            return frozenset()
        with np.load(self.path) as held:
            return frozenset(name.removeprefix(_ROW) for name in held.files if name.startswith(_ROW))

    def of(self, row: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The row's array, and the shared ones.

        Raises:
            KeyError: the row is not there.
        """
        with np.load(self.path) as held:
            shared = {name.removeprefix(_SHARED): held[name] for name in held.files if name.startswith(_SHARED)}
            return held[_ROW + row], shared

    def digest(self, row: str) -> str:
        """Tells the row's values apart from others."""
        values, shared = self.of(row)
        digest = hashlib.sha256()
        for array in (values, *(shared[name] for name in sorted(shared))):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def _arrays(self) -> dict[str, np.ndarray]:
        if not self.path.exists():
            return {}
        with np.load(self.path) as held:
            return {name: held[name] for name in held.files}
