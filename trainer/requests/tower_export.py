"""The export of a chatbot's ranker: a SavedModel version that takes raw features, and the intents' vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from feature_store import folders, request_inputs, requests
from trainer.config import ExportConfig
from trainer.export_folder import EXTRA, WARMUP, new_version, write_warmup
from trainer.models.towers import unit
from trainer.requests import saved as request_saved
from trainer.requests.export import spec
from trainer.requests.input import Requests, Rows
from trainer.requests.ranker import RequestRanker
from trainer.step import Step
from trainer.unit import Function

INDEX = "intents"
"""The folder of the intents' vectors in ``assets.extra``: ``vectors.npy`` (N, width) of length 1, ``ids.json``,
MANIFEST.json with the version that they belong to."""


class ServedTowers(tf.Module):
    """A ranker with its vocabularies and the vectors of all intents: raw features in, the best intents out.

    The intents' vectors are made once, here: in serving an intent is looked up. Features are as
    `trainer.requests.export.ServedRanker` takes them; a query of NaN or of zeros is none.
    """

    def __init__(self, ranker: RequestRanker, top: int) -> None:
        super().__init__()
        ranker.dense.pull()
        self.weights = list(ranker.model.weights)  # what is saved with the functions
        self.tables = [shard for table in ranker.tables for shard in table.shards]
        self._ranker, self._data = ranker, ranker.data
        self.top = min(top, len(self._data.items.ids))
        self.query = getattr(ranker.model, "query", "")
        self.vectors = tf.Variable(_intents(ranker), trainable=False, name="intent_vectors")  # (N, width)

    def signatures(self) -> dict[str, Function]:
        """``rank``, and where there is a query tower ``rank_without_query``, which takes all but the query."""
        rest = [feature for feature in self._data.raw if feature.name != self.query]
        given = [feature for feature in self._data.raw if feature.name == self.query]

        @tf.function(input_signature=[spec(feature) for feature in rest + given])
        def rank(*values: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.rank(dict(zip([feature.name for feature in rest + given], values, strict=True)))

        if not given:
            return {"serving_default": rank, "rank": rank}

        @tf.function(input_signature=[spec(feature) for feature in rest])
        def without(*values: tf.Tensor) -> dict[str, tf.Tensor]:
            raw = dict(zip([feature.name for feature in rest], values, strict=True))
            return self.rank({**raw, self.query: tf.zeros((tf.shape(values[0])[0], given[0].length))})

        return {"serving_default": rank, "rank": rank, "rank_without_query": without}

    def rank(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Of requests (B,): the best ``intents`` (B, K) with their ``scores``, and the similarities they are made of,
        ``user_intent`` and, with a query tower, ``intent_query``."""
        features, missing = self._data.encode({feature.name: raw[feature.name] for feature in self._data.raw})
        count = tf.shape(next(iter(raw.values())))[0]
        nobody = tf.zeros((count, 0))
        rows = Rows(tf.cast(nobody, tf.int32), tf.cast(nobody, tf.bool), nobody, features, missing)
        model = self._ranker.model
        with Step(tf.constant(0, tf.int64)) as step:
            found = self._ranker.features.lookup(step, model.embeddings.ids(rows))
        parts = model.embeddings.embedded(found, rows)
        queries = model.queries(parts, None)
        users = unit(model.users(parts, None))
        scores, *told = model.similar(users, self.vectors, None if queries is None else unit(queries))
        best, places = tf.math.top_k(scores, self.top)
        names = tf.gather(tf.constant(self._data.items.ids), places)
        similar = {name: tf.gather(each, places, batch_dims=1)
                   for name, each in zip(("user_intent", "intent_query"), told, strict=False)}  # fmt: skip
        return {"intents": names, "scores": best, **similar}


def _intents(ranker: RequestRanker) -> np.ndarray:
    """z_i (N, width) of all intents, at length 1."""
    model, data = ranker.model, ranker.data
    empty = tf.zeros((0, 0))
    raw = {feature.name: tf.zeros(spec(feature).shape.as_list()[1:], spec(feature).dtype)[None][:0]
           if feature.kind in ("single", "vector") else tf.zeros((0, 0), spec(feature).dtype)
           for feature in data.raw}  # fmt: skip
    features, missing = data.encode(raw)
    rows = Rows(tf.cast(empty, tf.int32), tf.cast(empty, tf.bool), empty, features, missing)
    with Step(tf.constant(0, tf.int64)) as step:
        found = ranker.features.lookup(step, model.embeddings.ids(rows))
    return unit(model.intents(model.embeddings.embedded(found, rows).candidates[0], None)).numpy()


def run(folder: Path, model: Path, out: Path, export: ExportConfig, version: int = 0) -> dict[str, Any]:
    """Writes a version under ``out`` (``export/<model>``): SavedModel, the index of intents, warmup, manifest.

    Args:
      folder: of the requests. version: its number, which ``out`` must not have; 0 is the next.

    Returns:
      {"version", "path", "intents", "signatures"}.
    """
    data = Requests(folder)
    restored = request_saved.load(model, data)
    served = ServedTowers(restored.ranker, export.top_k)
    signatures = served.signatures()
    told: dict[str, Any] = {
        "checkpoint": restored.checkpoint.name,
        "config": restored.config,
        "signatures": sorted(signatures),
        "features": data.manifest["features"],
        "vocabulary": data.manifest["vocabulary"],
        "intents": data.manifest.get("intents"),  # the base's version
        "query": {name: value for name, value in (data.manifest.get("query") or {}).items()
                  if name in ("width", "model_id", "adapter_version")},
    }  # fmt: skip
    with new_version(out, version, told) as (scratch, number):
        tf.saved_model.save(served, str(scratch), signatures=signatures)
        _write_index(scratch / EXTRA / INDEX, data.items.ids, served.vectors.numpy(), out.name, number)
        write_warmup(scratch / WARMUP, out.name, "rank", _samples(data, export.warmup_requests))
    return {"version": number, "path": str(out / str(number)), "intents": len(data.items.ids),
            "signatures": sorted(signatures)}  # fmt: skip


def _write_index(folder: Path, ids: list[str], vectors: np.ndarray, model: str, version: int) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "vectors.npy", vectors)
    (folder / "ids.json").write_text(json.dumps(list(ids)), encoding="utf-8")
    files = [folders.describe(folder / name, folder) for name in ("vectors.npy", "ids.json")]
    told = {"kind": "intent_index", "model": model, "version": version, "width": int(vectors.shape[1]), "files": files}
    folders.write_manifest(folder, told)


def _samples(data: Requests, count: int) -> list[dict[str, np.ndarray]]:
    """The inputs of some requests of the first split that is not for training, one at a time."""
    split = next(name for name in ("test", "valid", "train") if data.count(name))
    rows = requests.read_rows(data.folder, split, [feature.name for feature in data.raw])
    return [request_inputs.inputs(row, data.raw) for row in rows.slice(0, count).to_pylist()]
