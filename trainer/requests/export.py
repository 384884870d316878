"""The export of a model of labelled requests: its best checkpoint as a SavedModel version that takes raw features."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from feature_store import request_inputs, requests
from feature_store.request_schema import CANDIDATES, RequestFeature
from trainer.calibration import Calibration, fit
from trainer.cluster.strategy import InProcess
from trainer.config import ExportConfig
from trainer.export_folder import WARMUP, new_version, write_warmup
from trainer.requests import saved as request_saved
from trainer.requests.input import Requests, Rows
from trainer.requests.ranker import RequestRanker
from trainer.requests.scores import RequestScores
from trainer.unit import Function


class ServedRanker(tf.Module):
    """A model with its vocabularies: raw features of users and situations, and candidates, in; probabilities out.

    A user's or situation's feature is (B,) where it is single, (B, length) where it is a vector, and (B, any length),
    oldest first, where it is a bag or a sequence; "" (or -1) there is nothing. A server that batches requests fills the
    shorter ones up with their first value: send all that the feature declares, "" before the oldest. ``candidates`` is
    (B, C), "" where a request has fewer. A missing value is "", NaN, or -1; an unknown candidate is judged by what is
    left of it.
    """

    def __init__(self, ranker: RequestRanker, calibration: Calibration) -> None:
        super().__init__()
        ranker.dense.pull()
        self.weights = list(ranker.model.weights)  # what is saved with the functions
        self.tables = [shard for table in ranker.tables for shard in table.shards]
        self._ranker, self._data, self._calibration = ranker, ranker.data, calibration

    def signatures(self) -> dict[str, Function]:
        """The functions by the names that clients call them by."""
        specs = [spec(feature) for feature in self._data.raw]
        specs.append(tf.TensorSpec((None, None), tf.string, name=CANDIDATES))

        @tf.function(input_signature=specs, autograph=False)
        def predict(*values: tf.Tensor) -> dict[str, tf.Tensor]:
            *raw, candidates = values
            return self.predict({f.name: v for f, v in zip(self._data.raw, raw, strict=True)}, candidates)

        return {"serving_default": predict, self._ranker.config.signature: predict}

    def predict(self, raw: dict[str, tf.Tensor], candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """``probabilities`` (B, C), calibrated, 0 where there is no candidate; ``logits`` as the model gives them, and
        what else it tells of each candidate."""
        present = candidates != ""
        features, missing = self._data.encode(raw)
        labels = tf.zeros(tf.shape(candidates))
        found = self._ranker.answer(Rows(self._data.item_ids(candidates), present, labels, features, missing))
        probabilities = tf.where(present, self._calibration.of(found.logits), 0.0)
        return {"probabilities": probabilities, "logits": found.logits, **found.told}


def spec(feature: RequestFeature) -> tf.TensorSpec:
    """Of a feature as a request brings it."""
    shapes = {"single": (None,), "vector": (None, feature.length)}
    return tf.TensorSpec(shapes.get(feature.kind, (None, None)), tf.as_dtype(feature.dtype), name=feature.name)


def calibrated(ranker: RequestRanker, data: Requests) -> Calibration:
    """Fitted on the validation split with the ranker's parameters as they are."""
    scored = RequestScores(InProcess(), data, ranker).of("valid")
    return fit(scored.logits[scored.present], scored.labels[scored.present])


def run(folder: Path, model: Path, out: Path, export: ExportConfig, version: int = 0) -> dict[str, Any]:
    """Writes a version under ``out`` (``export/<model>``): SavedModel, warmup requests, manifest.

    The version's folder gets its number when it is complete, so a server that watches ``out`` never loads a part.

    Args:
      folder: of the requests. version: its number, which ``out`` must not have; 0 is the next.

    Returns:
      {"version", "path", "items", "signature", "calibration"}.
    """
    data = Requests(folder)
    restored = request_saved.load(model, data)
    calibration = calibrated(restored.ranker, data)
    served, name = ServedRanker(restored.ranker, calibration), restored.ranker.config.signature
    told = {
        "checkpoint": restored.checkpoint.name,
        "config": restored.config,
        "calibration": asdict(calibration),
        "signature": name,
        "features": data.manifest["features"],
        "vocabulary": data.manifest["vocabulary"],
        "boundaries": data.manifest.get("boundaries"),
        "groups": data.manifest.get("groups"),  # that made the features: the requests' must be of the same
    }
    evaluation = model.parent.parent / "evaluation" / model.name / "metrics.json"
    told["metrics"] = json.loads(evaluation.read_text()) if evaluation.exists() else None
    with new_version(out, version, told) as (scratch, number):
        tf.saved_model.save(served, str(scratch), signatures=served.signatures())
        samples = _samples(data, export.warmup_requests)
        write_warmup(scratch / WARMUP, out.name, name, samples)
    items = len(data.items.ids)
    return {"version": number, "path": str(out / str(number)), "items": items, "signature": name,
            "calibration": told["calibration"]}  # fmt: skip


def _samples(data: Requests, count: int) -> list[dict[str, np.ndarray]]:
    """The inputs of some requests of the first split that is not for training, one at a time."""
    split = next(name for name in ("test", "valid", "train") if data.count(name))
    names = [*(feature.name for feature in data.raw), CANDIDATES]
    samples = []
    for row in requests.read_rows(data.folder, split, names).slice(0, count).to_pylist():
        samples.append(request_inputs.inputs(row, data.raw))
        samples[-1][CANDIDATES] = np.array([[one.encode() for one in row[CANDIDATES]]], "S")
    return samples
