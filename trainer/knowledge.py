"""The language model's vectors of the items, as the frozen table a recommender trains with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from feature_store.errors import DataError
from feature_store.folders import read_manifest
from trainer.vocabulary import Vocabulary


class Basis(NamedTuple):
    """The rows of an earlier model, whose weights know vectors in these coordinates."""

    ids: list[str]  # of the items, in the order of their rows from the second on
    rows: np.ndarray  # (N, W)


def read_knowledge(
    folder: Path | None, vocabulary: Vocabulary, width: int, basis: Basis | None = None
) -> np.ndarray:
    """Reads ``knowledge/item_text`` into one row an item index, cut to its principal components.

    The vectors are centred, projected on their first ``width`` principal components (all, where there are fewer)
    and scaled so that the mean norm is 1. With ``width`` 0 they are centred, stay along their own axes, and are scaled
    so that their root mean square is 1. An item without a vector, and padding, gets zeros: the mean.

    With a ``basis`` the coordinates are its own: the affine map from vectors to rows that fits its items best (exactly,
    where their vectors are what they were) is used for all.

    Returns:
      (N, min(width, D, items with a vector)), with ``width`` 0 (N, D), float32.

    Raises:
      DataError: there is no such folder, it is not whole, or none of its items is known; none is in the basis, or
        that has another width.
    """
    if folder is None:
        rule = "run the embed stage, or that of its source, first"
        raise DataError(f"model.knowledge is set, but there is no knowledge folder: {rule}")
    manifest = read_manifest(folder)
    table = pq.read_table([folder / part["file"] for part in manifest["files"]], columns=["item_id", "vector"])
    places = {item: i + 1 for i, item in enumerate(vocabulary.ids)}
    index = np.array([places.get(item, 0) for item in table["item_id"].to_pylist()])
    if not index.any():
        raise DataError(f"{folder}: none of its {len(index)} items is among the {len(places)} of the examples")
    column = table["vector"].combine_chunks()
    vectors = column.values.to_numpy(zero_copy_only=False).reshape(len(index), -1)[index > 0]
    if basis is not None:
        reduced = _in_basis(vectors, [vocabulary.ids[i - 1] for i in index[index > 0]], basis, width)
    elif width:
        centred = vectors - vectors.mean(0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        reduced = centred @ axes[:width].T
        reduced /= np.linalg.norm(reduced, axis=1).mean()
    else:
        centred = vectors - vectors.mean(0)
        reduced = centred / np.sqrt(np.mean(np.square(centred)))
    result = np.zeros((vocabulary.size, reduced.shape[1]), np.float32)
    result[index[index > 0]] = reduced
    return result


def _in_basis(vectors: np.ndarray, ids: list[str], basis: Basis, width: int) -> np.ndarray:
    """vectors (n, D) of the items ``ids`` -> (n, W)."""
    wanted, there = min(width or vectors.shape[1], vectors.shape[1]), basis.rows.shape[1]
    few = bool(width) and basis.rows.any(axis=1).sum() <= there < wanted  # its items had no more components
    if there != wanted and not few:
        rule = f"must be {there}, as in the model that this one starts from"
        raise DataError(rule, field="model.knowledge_width", value=wanted)
    before = {item: i + 1 for i, item in enumerate(basis.ids)}
    places = np.array([before.get(item, 0) for item in ids])
    shared = (places > 0) & basis.rows[places].any(axis=1)
    if not shared.any():
        raise DataError(f"none of {len(ids)} items with knowledge has it in the model that this one starts from")
    known, rows = vectors[shared].astype(np.float64), basis.rows[places[shared]]
    centre, level = known.mean(0), rows.mean(0)
    fitted, *_ = np.linalg.lstsq(known - centre, rows - level, rcond=None)
    return (vectors - centre) @ fitted + level
