"""Ids to indices and back, inside the graph, the same in training and in serving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf


class Vocabulary:
    """The known ids of one feature. Index 0 is padding, the i-th id (from 0) has index i + 1.

    Lookup is a binary search over 64-bit fingerprints: constants and plain ops only, so the same graph runs in a
    worker's input, in the model and in a SavedModel (a lookup table used by a remote input pipeline is served by
    the coordinator, one call a batch).

    Args:
      ids: distinct and not empty.

    Raises:
      ValueError: an id is empty or stands twice, or two ids share a fingerprint.
    """

    def __init__(self, ids: list[str]) -> None:
        if not ids:
            raise ValueError("a vocabulary needs at least one id, got none")
        if "" in ids:
            raise ValueError(f"a vocabulary's ids must not be empty; the one at index {ids.index('')} is")
        if len(set(ids)) != len(ids):
            raise ValueError(f"a vocabulary's ids must be distinct, got {len(ids) - len(set(ids))} repeats")
        self.ids = ids
        prints = _fingerprint(tf.constant(ids)).numpy()
        order = np.argsort(prints, kind="stable")
        same = np.flatnonzero(np.diff(prints[order]) == 0)
        if same.size:
            pair = [ids[order[same[0]]], ids[order[same[0] + 1]]]
            raise ValueError(f"ids {pair} share a fingerprint; rename one")
        self._prints, self._indices = prints[order], (order + 1).astype(np.int32)

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Reads a vocabulary file: one JSON string a line."""
        with open(path, encoding="utf-8") as lines:
            return cls([json.loads(line) for line in lines])

    @property
    def size(self) -> int:
        """Number of indices, padding included."""
        return len(self.ids) + 1

    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        """String ids of any shape -> int32 indices of the same shape; 0 for an unknown or empty id."""
        prints = tf.reshape(_fingerprint(ids), (-1,))
        table = tf.constant(self._prints)
        place = tf.minimum(tf.searchsorted(table, prints), len(self.ids) - 1)
        found = tf.equal(tf.gather(table, place), prints)
        index = tf.where(found, tf.gather(tf.constant(self._indices), place), 0)
        return tf.reshape(index, tf.shape(ids))

    def names(self, indices: tf.Tensor) -> tf.Tensor:
        """Indices of any shape -> string ids; "" for padding."""
        return tf.gather(tf.constant(["", *self.ids]), indices)


def _fingerprint(ids: tf.Tensor) -> tf.Tensor:
    digest = tf.fingerprint(tf.reshape(ids, (-1, 1)))  # (n, 8) uint8
    return tf.reshape(tf.bitcast(digest, tf.int64), tf.shape(ids))
