"""The language model's vectors of the items, as the frozen table a recommender trains with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from feature_store.errors import DataError
from feature_store.folders import read_manifest
from trainer.vocabulary import Vocabulary


def read_knowledge(folder: Path | None, vocabulary: Vocabulary, width: int) -> np.ndarray:
    """Reads ``knowledge/item_text`` into one row an item index, cut to its principal components.

    The vectors are centred, projected on their first ``width`` principal components (all, where there are fewer)
    and scaled so that the mean norm is 1. With ``width`` 0 they are centred, stay along their own axes, and are scaled
    so that their root mean square is 1. An item without a vector, and padding, gets zeros: the mean.

    Returns:
      (N, min(width, D)), with ``width`` 0 (N, D), float32.

    Raises:
      DataError: there is no such folder, it is not whole, or none of its items is known.
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
    centred = vectors - vectors.mean(0)
    if width:
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        reduced = centred @ axes[:width].T
        reduced /= np.linalg.norm(reduced, axis=1).mean()
    else:
        reduced = centred / np.sqrt(np.mean(np.square(centred)))
    result = np.zeros((vocabulary.size, reduced.shape[1]), np.float32)
    result[index[index > 0]] = reduced
    return result
