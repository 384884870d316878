"""A two-tower model whose answers numpy can work out, in two versions with their retrieval indexes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import index_build
from serving.config import IndexConfig

ITEMS = 30


class Towers(tf.Module):
    """Items "i0", "i1", … with vectors (N, d); a user's vector is the sum of the history's and a bias."""

    def __init__(self, vectors: np.ndarray):
        super().__init__()
        names = tf.constant([f"i{number}" for number in range(len(vectors))])
        numbers = tf.range(1, len(vectors) + 1, dtype=tf.int64)
        self.numbers = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, numbers), 0)
        self.vectors = tf.Variable(np.pad(vectors, ((1, 0), (0, 0))), trainable=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
    def embed_user(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.reduce_sum(tf.gather(self.vectors, self.numbers.lookup(history)), axis=1) + 0.1}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.string, name="history"),
            tf.TensorSpec((None, None), tf.string, name="candidates"),
        ]
    )
    def score(self, history: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        items = tf.gather(self.vectors, self.numbers.lookup(candidates))
        return {"scores": tf.einsum("bd,bcd->bc", self.embed_user(history)["embedding"], items)}


def vectors(version: int) -> np.ndarray:
    """The items' vectors (30, 4) of a version."""
    return np.random.default_rng(version).normal(size=(ITEMS, 4)).astype(np.float32)


def write_index(folder: Path, items: np.ndarray) -> None:
    """The exact index of items "i0", "i1", … with these vectors (N, d)."""
    names = [f"i{number}" for number in range(len(items))]
    index_build.write(folder, names, items, items[:2].copy(), IndexConfig())


def write(root: Path) -> Path:
    """Versions 1 and 2 under `root`."""
    for version in (1, 2):
        folder, module = root / str(version), Towers(vectors(version))
        tf.saved_model.save(module, str(folder), signatures={"embed_user": module.embed_user, "score": module.score})
        write_index(folder / "assets.extra" / "index", vectors(version))
        (folder / "assets.extra" / "manifest.json").write_text('{"index": {"kind": "exact"}}')
    return root
