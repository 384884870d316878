"""Labelled requests as tensors: ids below 0 where there is none, numbers as models read them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from feature_store import requests
from feature_store.request_schema import (
    CANDIDATES,
    ITEM,
    LABELS,
    RequestFeature,
    from_json,
    in_requests,
)
from trainer.cluster.work_queue import Shard
from trainer.vocabulary import Vocabulary


class Rows(NamedTuple):
    """Some requests. The C of a batch is the most candidates that a request of the data has, or of a call in serving.

    ``features`` holds those that lie in requests:

    - categorical: ids (n,) int32 of a single one, (n, length) of a bag or a sequence, right-aligned, -1 where there is
      none or it is unknown;
    - numbers: (n,) or (n, length) float32, standardised where single, 0 where missing.
    """

    candidates: tf.Tensor  # (n, C) int32, ids of items; -1 padding or unknown
    present: tf.Tensor  # (n, C) bool, False at padding
    labels: tf.Tensor  # (n, C) float32, 0 at padding
    features: dict[str, tf.Tensor]
    missing: dict[str, tf.Tensor]  # of single features, (n,) bool: nothing was given; an unknown value was


class Requests:
    """A folder written by ``feature_store.requests``.

    Raises:
      DataError: the folder has no manifest, or its files are not what the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = requests.read_manifest(folder)
        self.features = {feature.name: feature for feature in from_json(self.manifest["features"])}
        self.vocabularies = {
            # Where training has no value at all, none is known.
            name: Vocabulary.read(folder / told["file"]) if told["size"] else Vocabulary(["\0"])
            for name, told in self.manifest["vocabulary"].items()
        }
        self.slate: int = self.manifest["slate"]

    @property
    def items(self) -> Vocabulary:
        """The candidates' ids; a row's index is one below theirs here, which keep 0 for padding."""
        return self.vocabularies[ITEM]

    def shards(self, split: str) -> list[Shard]:
        """The split's files; none where there is no such split."""
        return Shard.listed(self.folder, self.manifest["splits"].get(split, {"shards": []})["shards"])

    def count(self, split: str) -> int:
        """Number of requests in a split."""
        return self.manifest["splits"].get(split, {"examples": 0})["examples"]

    @property
    def base_rate(self) -> float:
        """Share of the training split's candidates that are positive, kept off 0 and 1."""
        told = self.manifest["splits"]["train"]
        return min(max(told["positives"] / told["candidates"], 1e-6), 1 - 1e-6)

    def size(self, name: str) -> int:
        """How many ids a categorical feature has, or a vocabulary."""
        feature = self.features.get(name)
        if feature is not None and feature.hash_buckets:
            return feature.hash_buckets
        return len(self.vocabularies[feature.vocabulary if feature else name].ids)

    @property
    def raw(self) -> list[RequestFeature]:
        """What a request brings along beside its candidates, in the order of their declaration."""
        return in_requests(self.features.values())

    def parse(self, serialized: tf.Tensor) -> Rows:
        """Serialized requests (n,) -> tensors, in the graph; C is ``slate``."""
        spec: dict[str, Any] = {
            CANDIDATES: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
            LABELS: tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64),
        }
        for feature in self.raw:
            dtype = tf.as_dtype(feature.dtype)
            if feature.kind in ("bag", "sequence"):
                spec[feature.name] = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            else:
                shape = (feature.length,) if feature.kind == "vector" else ()
                spec[feature.name] = tf.io.FixedLenFeature(shape, dtype)
        parsed = tf.io.parse_example(serialized, spec)
        features, missing = self.encode({feature.name: parsed[feature.name] for feature in self.raw})
        read = self._every if self.manifest.get("every_item") else self._listed
        return Rows(*read(parsed[CANDIDATES], parsed[LABELS]), features, missing)

    def _listed(self, ids: tf.RaggedTensor, labels: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Candidates, present and labels, (n, slate) each."""
        shape = (None, self.slate)
        present = tf.sequence_mask(ids.row_lengths(), self.slate)
        return self.item_ids(ids.to_tensor("", shape=shape)), present, labels.to_tensor(0.0, shape=shape)

    def _every(self, ids: tf.RaggedTensor, labels: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The same where all items are candidates, (n, N) each, and the ids given are those with a label."""
        shape = tf.cast(tf.stack([ids.nrows(), self.slate]), tf.int32)
        items = self.item_ids(ids.flat_values)
        places = tf.stack([tf.cast(ids.value_rowids(), tf.int32), items], axis=1)
        known = items >= 0
        given = tf.scatter_nd(tf.boolean_mask(places, known), tf.boolean_mask(labels.flat_values, known), shape)
        return tf.tile(tf.range(self.slate)[None], (shape[0], 1)), tf.ones(shape, tf.bool), given

    def item_ids(self, ids: tf.Tensor) -> tf.Tensor:
        """Raw ids of items -> int32 of the same shape, -1 where unknown or empty."""
        return self.items.lookup(ids) - 1

    def encode(self, raw: Mapping[str, Any]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Raw values by feature, (n,), (n, length) or ragged -> ``Rows.features`` and ``Rows.missing``."""
        features, missing = {}, {}
        for name, values in raw.items():
            feature = self.features[name]
            if feature.kind == "single":
                missing[name] = _missing(values)
            if feature.categorical:
                features[name] = self._ids(feature, values)
            else:
                features[name] = self._numbers(feature, values)
        return features, missing

    @cached_property
    def item_columns(self) -> dict[str, np.ndarray]:
        """What is known of the items, in the order of their ids and encoded as ``Rows.features`` are: (N, …) each."""
        table = pq.read_table(self.folder / self.manifest["items"]["file"])
        raw = {f.name: _tensor(table[f.name], f) for f in self.features.values() if f.side == "candidate"}
        return {name: values.numpy() for name, values in self.encode(raw)[0].items()}

    def _ids(self, feature: RequestFeature, values: Any) -> tf.Tensor:
        if feature.kind != "single":
            padding = "" if feature.dtype == "string" else -1
            ragged = values
            if not isinstance(values, tf.RaggedTensor):
                ragged = tf.RaggedTensor.from_tensor(values, padding=tf.constant(padding, values.dtype))
            return aligned(ragged.with_flat_values(self._ids_of(feature, ragged.flat_values)), feature.length, -1)
        return self._ids_of(feature, values)

    def _ids_of(self, feature: RequestFeature, values: tf.Tensor) -> tf.Tensor:
        if values.dtype != tf.string:
            values = tf.where(values < 0, "", tf.strings.as_string(values))
        if feature.vocabulary:
            return self.vocabularies[feature.vocabulary].lookup(values) - 1
        hashed = tf.cast(tf.strings.to_hash_bucket_fast(values, feature.hash_buckets), tf.int32)
        return tf.where(values == "", -1, hashed)

    def _numbers(self, feature: RequestFeature, values: Any) -> tf.Tensor:
        if isinstance(values, tf.RaggedTensor):
            values = aligned(tf.cast(values, tf.float32), feature.length, 0.0)
        values = tf.cast(values, tf.float32)
        there = ~tf.math.is_nan(values) if feature.dtype == "float32" else values >= 0
        if feature.kind == "sequence":
            values = tf.pad(values, ((0, 0), (feature.length, 0)))[:, -feature.length :]
            there = tf.pad(there, ((0, 0), (feature.length, 0)))[:, -feature.length :]
        read = tf.math.log1p(tf.maximum(values, 0.0)) if feature.log else values
        if feature.kind == "single":
            told = self.manifest["statistics"][feature.name]
            read = (read - told["mean"]) / told["deviation"]
        return tf.where(there, read, 0.0)


def aligned(ragged: tf.RaggedTensor, width: int, padding: float) -> tf.Tensor:
    """Ragged values (n, ·) -> (n, width): the newest ``width`` at the right, ``padding`` before them."""
    newest_first = ragged[:, -width:][:, ::-1]
    return tf.reverse(newest_first.to_tensor(padding, shape=(None, width)), axis=[1])


def _missing(values: tf.Tensor) -> tf.Tensor:
    if values.dtype == tf.string:
        return values == ""
    return tf.math.is_nan(values) if values.dtype.is_floating else values < 0


def _tensor(column: pa.ChunkedArray, feature: RequestFeature) -> Any:
    if feature.kind == "single":
        return tf.constant(column.to_numpy())
    if feature.kind == "vector":
        return tf.constant(np.stack(column.to_numpy()).astype(np.float32))
    return tf.ragged.constant(column.to_pylist(), dtype=tf.as_dtype(feature.dtype), ragged_rank=1)
