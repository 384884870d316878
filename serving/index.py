"""A version's retrieval index: the items whose vectors have the largest inner product with a user's.

Retrieval is the first of two stages (Covington et al., 2016): some hundred candidates out of millions, which a ranking
head then scores. Both stages of a version use the same item vectors, so an index belongs to its version: it is written
with it (`serving.index_build`), loaded with it, and refused where it is not its own.

The folder holds ``items.faiss``, ``items.txt`` (an item id a line, as JSON, in the order of the vectors) and
``MANIFEST.json``. Importing this file does not import TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from feature_store import folders
from feature_store.errors import DataError

FOLDER = "assets.extra/index"
"""Where a version folder has its index."""
KIND = "item_index"
VECTORS, IDS = "items.faiss", "items.txt"
LOWEST = np.finfo(np.float32).min
"""The score of no item."""


class ItemIndex:
    """An index in memory; threads may share it.

    Args:
        index: of faiss, by inner product, its search parameters set.
        ids: of the items, in the order of their vectors.
        manifest: what is known of it, see `serving.index_build.write`.

    Raises:
        ValueError: there is not one id for each vector.
    """

    def __init__(self, index: faiss.Index, ids: Sequence[str], manifest: dict[str, Any] | None = None):
        if index.ntotal != len(ids):
            raise ValueError(f"an index must have an id for each vector, got {len(ids)} for {index.ntotal}")
        self._index = index
        self.manifest = manifest or {}
        self.ids = np.empty(len(ids), object)
        self.ids[:] = ids

    @property
    def width(self) -> int:
        """d, of the vectors."""
        return self._index.d

    def search(
        self, users: np.ndarray, k: int, seen: Sequence[Sequence[str]] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items for each user's vector, best first.

        Args:
            users: (B, d) float32.
            seen: for each user, items to leave out; unknown ids are ignored.

        Returns:
            items (B, k) str and scores (B, k) float32; "" and `LOWEST` where fewer than k are left or were found.

        Raises:
            ValueError: `k` is below 1, `users` is not (B, d), or `seen` has not B rows.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if users.ndim != 2 or users.shape[1] != self.width:
            raise ValueError(f"users must be vectors of width {self.width}, got shape {users.shape}")
        hidden = [set(row) for row in seen] if seen is not None else [set()] * len(users)
        if len(hidden) != len(users):
            raise ValueError(f"seen must have a row for each of {len(users)} users, got {len(hidden)}")
        items = np.full((len(users), k), "", object)
        scores = np.full((len(users), k), LOWEST, np.float32)
        if not len(users):
            return items, scores
        # The best k of what is not hidden are among the best k + hidden of all.
        count = min(k + max(map(len, hidden)), len(self.ids))
        found_scores, found = self._index.search(np.ascontiguousarray(users, np.float32), count)
        for row, hide in enumerate(hidden):
            there = found[row] >= 0
            names = self.ids[found[row][there]]
            keep = np.array([name not in hide for name in names], bool) if hide else np.ones(len(names), bool)
            kept = names[keep][:k]
            items[row, : len(kept)] = kept
            scores[row, : len(kept)] = found_scores[row][there][keep][:k]
        return items, scores


def read(folder: Path) -> ItemIndex:
    """The index in `folder`.

    Raises:
        DataError: the folder is not whole, is no index, or a file in it is not what its manifest says.
    """
    manifest = folders.read_manifest_of(KIND, folder, "an item index")
    with (folder / IDS).open(encoding="utf-8") as lines:
        ids = [json.loads(line) for line in lines]
    try:
        index = faiss.read_index(str(folder / VECTORS))
    except RuntimeError as error:
        raise DataError(f"faiss cannot read it: {error}", file=folder / VECTORS) from error
    for name, got in (("items", index.ntotal), ("d", index.d)):
        if got != manifest[name]:
            raise DataError(f"MANIFEST.json says {name} {manifest[name]}", file=folder / VECTORS, value=got)
    if len(ids) != index.ntotal:
        raise DataError(f"must have an id for each of {index.ntotal} vectors", file=folder / IDS, value=len(ids))
    set_effort(index, manifest["parameters"])
    return ItemIndex(index, ids, manifest)


def set_effort(index: faiss.Index, parameters: dict[str, int]) -> None:
    """Has `index` search as many lists as the parameters say; a flat one compares all items anyway."""
    if "probes" in parameters:
        faiss.extract_index_ivf(index).nprobe = parameters["probes"]
