"""Building a version's retrieval index, and measuring what it finds of what there is.

A small catalogue is compared whole. A large one is cut into lists by spherical k-means over the item vectors (IVF), of
which a search reads the `probes` whose centres have the largest inner product with the user's vector. `probes` is not
set but found: the fewest that give the recall asked for on one half of the version's own user vectors; the other half
then says what recall that is. A graph (HNSW) found less in the same time: a user's vector lies nowhere near the items'
(docs/operations.md has the figures).

The same vectors and settings give the same files, on the same number of threads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from feature_store import folders
from serving.config import IndexConfig
from serving.index import IDS, KIND, VECTORS, ItemIndex, read, set_effort

RECALL_AT = 50
_SEED = 1234
_BLOCK = 256  # users compared with all items at once


def write(folder: Path, ids: list[str], items: np.ndarray, users: np.ndarray, config: IndexConfig) -> dict[str, Any]:
    """Builds the index of `items`, writes it to `folder`, reads it again and measures it.

    Args:
        ids: of the items.
        items: (N, d) float32; an item's score is the inner product with a user's vector.
        users: (U, d) float32, U ≥ 2: vectors of the kind that will be searched with.

    Returns:
        kind ("exact" or "ivf"), items, d, parameters, "recall@50" against exact search, and recall_users, the number of
        users it is the mean over. The folder's manifest holds the same.

    Raises:
        ValueError: there are no items, or not two users; a vector is not finite; or the shapes do not fit.
    """
    _check(ids, items, users)
    kind = config.kind
    if kind == "auto":
        kind = "exact" if len(ids) <= config.exact_up_to else "ivf"
    index, parameters = exact_index(items), {}
    recall, measured = 1.0, len(users)
    if kind == "ivf":
        exact = ItemIndex(index, ids)
        index, parameters = _ivf(items, config.lists or default_lists(len(ids)))
        tuning, held = users[::2], users[1::2]
        parameters["probes"] = _probes(index, ids, exact, tuning, parameters["lists"], config.recall)
        set_effort(index, parameters)
        recall, measured = recall_at(RECALL_AT, ItemIndex(index, ids), exact, held), len(held)
    described = {
        "kind": kind,
        "items": len(ids),
        "d": items.shape[1],
        "parameters": parameters,
        f"recall@{RECALL_AT}": round(recall, 5),
        "recall_users": measured,
    }
    with folders.new_folder(folder) as scratch:
        faiss.write_index(index, str(scratch / VECTORS))
        with (scratch / IDS).open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(name, ensure_ascii=False) + "\n" for name in ids)
        files = [folders.describe(scratch / name, scratch) for name in (VECTORS, IDS)]
        folders.write_manifest(scratch, {**described, "index": kind, "kind": KIND, "files": files})
    read(folder)
    return described


def default_lists(count: int) -> int:
    """2 √N lists of √N / 2 items each."""
    return max(round(2 * count**0.5), 1)


def recall_at(k: int, index: ItemIndex, exact: ItemIndex, users: np.ndarray) -> float:
    """The share of each user's `k` best items that `index` finds, the mean over users (U, d).

    An item that ties with the k-th best counts as one of them.
    """
    k = min(k, len(exact.ids))
    return _found(k, index, users, _least(k, exact, users))


def _least(k: int, exact: ItemIndex, users: np.ndarray) -> np.ndarray:
    """(U,): what the k-th best item scores."""
    parts = []
    for first in tqdm(range(0, len(users), _BLOCK), desc="exact search", unit="block", delay=2):
        best = exact.search(users[first : first + _BLOCK], k)[1]
        parts.append(best[:, -1] - 1e-5 * np.abs(best[:, 0]))  # an index sums in another order
    return np.concatenate(parts)


def _found(k: int, index: ItemIndex, users: np.ndarray, least: np.ndarray) -> float:
    shares = [
        (index.search(users[first : first + _BLOCK], k)[1] >= least[first : first + _BLOCK, None]).mean(axis=1)
        for first in range(0, len(users), _BLOCK)
    ]
    return float(np.concatenate(shares).mean())


def exact_index(items: np.ndarray) -> faiss.Index:
    """It compares a user with all items (N, d)."""
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return index


def _ivf(items: np.ndarray, lists: int) -> tuple[faiss.Index, dict[str, int]]:
    lists = min(lists, len(items))
    centres = faiss.IndexFlatIP(items.shape[1])
    index = faiss.IndexIVFFlat(centres, items.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    index.cp.seed = _SEED
    index.cp.niter = 10
    index.cp.max_points_per_centroid = 64
    index.cp.min_points_per_centroid = 1  # no warning: small catalogues are asked for by tests alone
    index.train(items)
    index.add(items)
    return index, {"lists": lists}


def _probes(
    index: faiss.Index, ids: list[str], exact: ItemIndex, users: np.ndarray, lists: int, recall: float
) -> int:
    """The fewest lists to search, to within an eighth, that find `recall` of each user's best; all find everything."""
    searched, k = ItemIndex(index, ids), min(RECALL_AT, len(ids))
    least = _least(k, exact, users)

    def enough(probes: int) -> bool:
        set_effort(index, {"probes": probes})
        return _found(k, searched, users, least) >= recall

    high = 1
    while high < lists and not enough(high):
        high = min(high * 2, lists)
    low = high // 2
    while high - low > max(high // 8, 1):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(ids: list[str], items: np.ndarray, users: np.ndarray) -> None:
    if items.ndim != 2 or not len(items) or len(items) != len(ids):
        raise ValueError(f"items must be (N, d), one row for each of {len(ids)} ids, got {items.shape}")
    if users.ndim != 2 or len(users) < 2 or users.shape[1] != items.shape[1]:
        raise ValueError(f"users must be (U, {items.shape[1]}) with U of at least 2, got {users.shape}")
    for name, vectors in (("items", items), ("users", users)):
        if vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ValueError(f"{name} must be finite numbers in float32, got {vectors.dtype}")
