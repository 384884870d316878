"""The export stage: the best checkpoint as a SavedModel version that takes raw ids."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from trainer import saved
from trainer.config import ExportConfig
from trainer.input import Examples, held_out, right_align
from trainer.models.coco import Know, Knowledge
from trainer.recommender import Recommender
from trainer.unit import Function
from trainer.vocabulary import Vocabulary

HISTORY = tf.TensorSpec((None, None), tf.string, name="history")
CANDIDATES = tf.TensorSpec((None, None), tf.string, name="candidates")
MASK = tf.TensorSpec((None, None), tf.bool, name="knowledge_mask")


class Served(tf.Module):
    """A recommender with its vocabulary: raw histories of item ids in, items and scores out.

    ``history`` is (B, any length), oldest first; "" and unknown ids anywhere in it are dropped, and the newest L
    of what is left are read. A recommender with CoCo has a second of each function, ``…_known``, that also takes what a
    language model knows of the users; without it, or where the mask drops all of it, a user's vector is h_RS alone.
    """

    def __init__(self, recommender: Recommender, vocabulary: Vocabulary, top_k: int) -> None:
        super().__init__()
        self.weights = list((recommender.coco or recommender.model).weights)  # what is saved with the functions
        self.length = recommender.config.max_length
        self.vocabulary = vocabulary
        self.top_k = min(top_k, len(vocabulary.ids))
        self.vectors = tf.Variable(recommender.pull(), trainable=False, name="item_vectors")  # (N, width)
        self._recommender = recommender

    def signatures(self) -> dict[str, Function]:
        """The functions by the names that clients call them by."""
        found = {
            "serving_default": tf.function(self.recommend, input_signature=[HISTORY]),
            "score": tf.function(self.score, input_signature=[HISTORY, CANDIDATES]),
            "embed_user": tf.function(self.embed_user, input_signature=[HISTORY]),
        }
        coco = self._recommender.coco
        if coco is None:
            return found
        known = [tf.TensorSpec((None, None, coco.config.knowledge_width), tf.float32, name="knowledge"), MASK]
        return found | {
            "recommend_known": tf.function(self.recommend, input_signature=[HISTORY, *known]),
            "score_known": tf.function(self.score, input_signature=[HISTORY, CANDIDATES, *known]),
            "embed_user_known": tf.function(self.embed_user, input_signature=[HISTORY, *known]),
        }

    def recommend(
        self, history: tf.Tensor, knowledge: tf.Tensor | None = None, knowledge_mask: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """The K best items the history does not hold; "" and the lowest float where fewer than K are left.

        Args:
          knowledge: (B, m, d') of the language model. knowledge_mask: (B, m) bool, False at padding.
        """
        seen = self.vocabulary.lookup(history)  # (B, ·)
        know = self._know(knowledge, knowledge_mask)
        scores = self._recommender.scores(self._history(seen), self.vectors, know)  # (B, N)
        row = tf.broadcast_to(tf.range(tf.shape(seen)[0])[:, None], tf.shape(seen))
        hidden = tf.reshape(tf.stack([row, seen], axis=-1), (-1, 2))
        lowest = tf.fill((tf.shape(hidden)[0],), scores.dtype.min)
        scores = tf.tensor_scatter_nd_update(scores, hidden, lowest)
        scores = tf.concat([tf.fill((tf.shape(scores)[0], 1), scores.dtype.min), scores[:, 1:]], axis=1)
        best, index = tf.math.top_k(scores, self.top_k)
        left = best > scores.dtype.min
        return {"items": self.vocabulary.names(tf.where(left, index, 0)), "scores": best}

    def score(
        self,
        history: tf.Tensor,
        candidates: tf.Tensor,
        knowledge: tf.Tensor | None = None,
        knowledge_mask: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Scores of given candidates (B, C); an unknown one gets the lowest float. Knowledge as of ``recommend``."""
        index = self.vocabulary.lookup(candidates)
        user = self._user(history, knowledge, knowledge_mask)
        items = self._recommender.candidates(tf.gather(self.vectors, index))
        scores = tf.einsum("bd,bcd->bc", user, items)
        return {"scores": tf.where(index > 0, scores, scores.dtype.min)}

    def embed_user(
        self, history: tf.Tensor, knowledge: tf.Tensor | None = None, knowledge_mask: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """The histories' vectors (B, d): an item's score is its dot product with it. Knowledge as of ``recommend``."""
        return {"embedding": self._user(history, knowledge, knowledge_mask)}

    def _history(self, index: tf.Tensor) -> tf.Tensor:
        return right_align(tf.RaggedTensor.from_tensor(index), self.length)

    def _user(self, history: tf.Tensor, knowledge: tf.Tensor | None, mask: tf.Tensor | None) -> tf.Tensor:
        index = self.vocabulary.lookup(history)
        return self._recommender.embed(self._history(index), self.vectors, self._know(knowledge, mask))

    @staticmethod
    def _know(knowledge: tf.Tensor | None, mask: tf.Tensor | None) -> Know | None:
        return None if knowledge is None else lambda *_: Knowledge(knowledge, mask)


def run(examples: Path, model: Path, out: Path, export: ExportConfig) -> dict[str, Any]:
    """Writes the next version under ``out`` (``export/<model>``): SavedModel, warmup requests, manifest.

    The version's folder gets its number when it is complete, so a server that watches ``out`` never loads a part.

    Returns:
      {"version", "path", "items", "top_k"}.
    """
    data = Examples(examples)
    restored = saved.load(model, data)
    served = Served(restored.recommender, data.vocabulary, export.top_k)
    out.mkdir(parents=True, exist_ok=True)
    versions = sorted(int(p.name) for p in out.iterdir() if p.name.isdigit())
    version = versions[-1] + 1 if versions else 1
    scratch = out / f".writing-{version}"
    shutil.rmtree(scratch, ignore_errors=True)
    tf.saved_model.save(served, str(scratch), signatures=served.signatures())
    extra = scratch / "assets.extra"
    extra.mkdir()
    histories = _histories(data, restored.recommender.config.max_length, export.warmup_requests)
    _write_warmup(extra / "tf_serving_warmup_requests", out.name, histories)
    summary = json.loads((model / "history.json").read_text())["summary"]
    evaluation = model.parent.parent / "evaluation" / model.name / "metrics.json"
    manifest = {
        "model": out.name,
        "version": version,
        "parent_version": versions[-1] if versions else None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": restored.checkpoint.name,
        "config": restored.config,
        "data_window": data.manifest["window"],
        "vocabulary": data.manifest["vocabulary"],
        "knowledge": summary.get("knowledge"),  # what made it: the requests' must be of the same
        "metrics": json.loads(evaluation.read_text()) if evaluation.exists() else None,
    }
    (extra / "manifest.json").write_text(json.dumps(manifest, indent=1))
    path = out / str(version)
    scratch.rename(path)
    return {"version": version, "path": str(path), "items": len(data.vocabulary.ids), "top_k": served.top_k}


def _histories(data: Examples, length: int, count: int) -> list[list[str]]:
    rows = next(held_out(data, "test", length, max(count, 1)))
    return [[data.vocabulary.ids[i - 1] for i in row if i > 0] for row in rows.history[:count]]


def _write_warmup(path: Path, model: str, histories: list[list[str]]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for history in histories:
            ids = np.array([[item.encode() for item in history]])
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = "serving_default"
            request.inputs["history"].CopyFrom(tf.make_tensor_proto(ids, tf.string))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
