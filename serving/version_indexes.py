"""The retrieval indexes of a model's versions, held by a client: for TensorFlow Serving, which has no retrieval."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving import index
from serving.index import ItemIndex


class VersionIndexes:
    """Reads the index of a version from the model's base path when it is first asked; threads may share it.

    Args:
        base_path: the folder with the version folders that the server loads, or a copy of it.
        keep: versions held, the last used; two while a label or the newest version moves.
    """

    def __init__(self, base_path: Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self._base_path, self._keep = Path(base_path), keep
        self._held: OrderedDict[int, ItemIndex] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, version: int) -> ItemIndex:
        """The version's index. Call it ahead of a roll-out: the first call reads the whole file.

        Raises:
            DataError: there is none, or it is not whole.
        """
        with self._lock:
            if version not in self._held:
                self._held[version] = index.read(self._base_path / str(version) / index.FOLDER)
            self._held.move_to_end(version)
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
            return self._held[version]

    def search(
        self, version: int, users: np.ndarray, k: int, seen: Sequence[Sequence[str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `ItemIndex.search` of the version's index.

        Raises:
            DataError: as `of`. ValueError: as `ItemIndex.search`.
        """
        return self.of(version).search(users, k, seen)
