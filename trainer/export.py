"""The export stage: the best checkpoint as a SavedModel version that takes raw ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import saved
from trainer.config import ExportConfig
from trainer.export_folder import EXTRA, WARMUP, new_version, write_warmup
from trainer.input import Examples, held_out, right_align
from trainer.models.coco import Know, Knowledge
from trainer.recommender import Recommender
from trainer.unit import Function
from trainer.vocabulary import Vocabulary

HISTORY = tf.TensorSpec((None, None), tf.string, name="history")
CANDIDATES = tf.TensorSpec((None, None), tf.string, name="candidates")
MASK = tf.TensorSpec((None, None), tf.bool, name="knowledge_mask")
_EMBEDDED_AT_ONCE = 256


@dataclass(frozen=True)
class Scoring:
    """The vectors a version scores with: an item's score is the dot product of its vector with the user's.

    Where scores are cosines the items' have length 1, and the users' 1 / temperature; with ``model.likeness`` both have
    W coordinates more.
    """

    ids: list[str]  # of the items
    items: np.ndarray  # (N, d) float32, or (N, d + W)
    users: np.ndarray  # as wide, (U, ·) float32, of histories of the test split


Indexer = Callable[[Path, Scoring], dict[str, Any]]
"""Writes a retrieval index to a folder; returns what the version's manifest is to say of it."""


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
            "serving_default": tf.function(self.recommend, input_signature=[HISTORY], autograph=False),
            "score": tf.function(self.score, input_signature=[HISTORY, CANDIDATES], autograph=False),
            "embed_user": tf.function(self.embed_user, input_signature=[HISTORY], autograph=False),
        }
        coco = self._recommender.coco
        if coco is None:
            return found
        known = [tf.TensorSpec((None, None, coco.config.knowledge_width), tf.float32, name="knowledge"), MASK]
        return found | {
            "recommend_known": tf.function(self.recommend, input_signature=[HISTORY, *known], autograph=False),
            "score_known": tf.function(self.score, input_signature=[HISTORY, CANDIDATES, *known], autograph=False),
            "embed_user_known": tf.function(self.embed_user, input_signature=[HISTORY, *known], autograph=False),
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

    def scoring(self, histories: np.ndarray) -> Scoring:
        """What the head computes with, the users being those of `histories` (U, L) of item indices."""
        users = [
            self._recommender.embed(histories[first : first + _EMBEDDED_AT_ONCE], self.vectors).numpy()
            for first in range(0, len(histories), _EMBEDDED_AT_ONCE)
        ]
        items = self._recommender.candidates(self.vectors)[1:].numpy()
        return Scoring(list(self.vocabulary.ids), np.ascontiguousarray(items), np.concatenate(users))

    def _history(self, index: tf.Tensor) -> tf.Tensor:
        return right_align(tf.RaggedTensor.from_tensor(index), self.length)

    def _user(self, history: tf.Tensor, knowledge: tf.Tensor | None, mask: tf.Tensor | None) -> tf.Tensor:
        index = self.vocabulary.lookup(history)
        return self._recommender.embed(self._history(index), self.vectors, self._know(knowledge, mask))

    @staticmethod
    def _know(knowledge: tf.Tensor | None, mask: tf.Tensor | None) -> Know | None:
        return None if knowledge is None else lambda *_: Knowledge(knowledge, mask)


def run(
    examples: Path,
    model: Path,
    out: Path,
    export: ExportConfig,
    index: Indexer | None = None,
    version: int = 0,
    made_by: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Writes a version under ``out`` (``export/<model>``): SavedModel, warmup requests, index, manifest.

    The version's folder gets its number when it is complete, so a server that watches ``out`` never loads a part.

    Args:
      index: writes the version's retrieval index, into ``assets.extra/index``; None: it has none.
      version: its number, which ``out`` must not have; 0 is the next.
      made_by: model_id and adapter_version of the knowledge that serving looks up; None is what it was trained with.

    Returns:
      {"version", "path", "items", "top_k", "index"}; the last is what ``index`` returned.
    """
    data = Examples(examples)
    restored = saved.load(model, data)
    served = Served(restored.recommender, data.vocabulary, export.top_k)
    length = restored.recommender.config.max_length
    summary = json.loads((model / "history.json").read_text())["summary"]
    evaluation = model.parent.parent / "evaluation" / model.name / "metrics.json"
    told: dict[str, Any] = {
        "checkpoint": restored.checkpoint.name,
        "config": restored.config,
        "data_window": data.manifest["window"],
        "vocabulary": data.manifest["vocabulary"],
        "knowledge": made_by or summary.get("knowledge"),  # what made it: the requests' must be of the same
        "metrics": json.loads(evaluation.read_text()) if evaluation.exists() else None,
        "index": None,
    }
    with new_version(out, version, told) as (scratch, number):
        tf.saved_model.save(served, str(scratch), signatures=served.signatures())
        write_warmup(scratch / WARMUP, out.name, "serving_default", _requests(data, length, export.warmup_requests))
        if index is not None:
            users = next(held_out(data, "test", length, export.index_users)).history
            told["index"] = index(scratch / EXTRA / "index", served.scoring(users))
    items = len(data.vocabulary.ids)
    path = str(out / str(number))
    return {"version": number, "path": path, "items": items, "top_k": served.top_k, "index": told["index"]}


def _requests(data: Examples, length: int, count: int) -> Iterator[dict[str, np.ndarray]]:
    rows = next(held_out(data, "test", length, max(count, 1)))
    for row in rows.history[:count]:
        yield {"history": np.array([[data.vocabulary.ids[i - 1].encode() for i in row if i > 0]], "S")}
