"""What titles could tell a backbone that is trained, and from which users that can be learnt: why CoCo gains or not.

To a backbone's scores a form of titles is added: s h·v_i + q M t_i, where t_i is an item's title and q the user's, both
vectors of a language model that nobody trains. M is a weight times the identity, which validation chooses, or is learnt
with the backbone as it is: from the last targets of training, which the backbone knows, or from validation targets,
which it does not; and with what users have met among the items that are not the target, or without it, as in ranking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
from sklearn.preprocessing import normalize

from benchmarks.reproduce._coco_forms import BATCH, Asked, Form, Layer, Scores, learn, surprise
from llm_offline.config import EncoderConfig
from llm_offline.embedder import Embedder
from trainer import likeness, metrics, saved
from trainer.input import Examples, Held, held_out
from trainer.ranking import Outcomes, places
from trainer.recommender import Recommender
from trainer.statistics import paired

METRICS = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")
WEIGHTS = (1.0, 2.0, 4.0, 8.0)
"""Of the likeness of titles, a cosine; validation chooses."""
BASE, LIKENESS = "the backbone", "likeness"
LEARNT = {
    f"{source} {start}{' seen' * seen}": (source, start, seen)
    for source in ("training", "validation") for start, seen in (("zero", True), ("zero", False), ("likeness", False))
}
"""Learnt from whose targets, from which M on, and whether with what users have met among the others."""
LAYERS = {f"{source} layer{' titles' * told}": (source, told)
          for source in ("training", "validation") for told in (False, True)}  # fmt: skip
"""A linear layer over h_RS in place of a form: learnt from whose targets, and whether told the user's titles."""


def titles_of(items: Path, ids: list[str], encoder: EncoderConfig) -> np.ndarray:
    """Titles' vectors (N, D) by item index, less their mean and of length 1; 0 for padding and items without one."""
    told = pq.read_table(items, columns=["item_id", "title"]).to_pydict()
    known = dict(zip(told["item_id"], told["title"], strict=True))
    texts = [known.get(name) or "" for name in ids]
    there = np.array([bool(text) for text in texts])
    vectors = np.zeros((len(ids) + 1, 0), np.float32)
    if there.any():
        found = Embedder(encoder).encode([text for text in texts if text], progress=True)
        vectors = np.zeros((len(ids) + 1, found.shape[1]), np.float32)
        vectors[1:][there] = normalize(found - found.mean(axis=0))
    return vectors


def told(examples: Path, model: Path, items: Path, encoder: EncoderConfig, resamples: int) -> dict[str, Any]:
    """What the titles of ``items`` add to ``model``, a variant trained on ``examples`` without a language model.

    Returns:
        ``surprise``: the backbone's mean cross-entropy over all items at the last targets of training, and those of
        validation and test. ``weight``: that validation chose. ``test``: by form its `METRICS`, and their differences
        to the backbone's with paired tests over users.
    """
    data = Examples(examples)
    recommender = saved.load(model, data).recommender
    vectors = recommender.pull()
    titles, candidates = titles_of(items, data.vocabulary.ids, encoder), recommender.candidates(vectors)
    splits = {split: _asked(data, recommender, vectors, titles, split) for split in ("valid", "test")}
    before = splits["valid"].rows.history
    earlier = np.pad(before[:, :-1], ((0, 0), (1, 0)))
    last = Held(splits["valid"].rows.user, earlier, before[:, -1], *splits["valid"].rows[3:])
    trained = _seen(recommender, vectors, titles, last).part((earlier[:, -1] > 0) & (before[:, -1] > 0))
    plain = Form(candidates, titles, 0.0)
    judged = {weight: _judge(Form(candidates, titles, weight), splits["valid"]) for weight in WEIGHTS}
    weight = max(judged, key=lambda one: judged[one]["ndcg@10"].mean())
    forms = {BASE: plain, LIKENESS: Form(candidates, titles, weight)}
    sources = {"training": trained, "validation": splits["valid"].part(splits["valid"].rows.target > 0)}
    for name, (source, start, seen) in LEARNT.items():
        form = Form(candidates, titles, weight if start == "likeness" else 0.0)
        forms[name] = learn(form, sources[source], seen)
    for name, (source, knows) in LAYERS.items():
        forms[name] = learn(Layer(candidates, titles.shape[1], knows), sources[source])
    found = {name: _judge(form, splits["test"]) for name, form in forms.items()}
    each = {"training": trained, **splits}
    return {
        "surprise": {name: float(_surprised(plain, asked)) for name, asked in each.items()},
        "weight": weight,
        "test": {name: _beside(found[BASE], values, resamples) for name, values in found.items()},
    }


def _beside(base: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], resamples: int) -> dict[str, Any]:
    means = {metric: float(values[metric].mean()) for metric in METRICS}
    if base is values:
        return {"mean": means}
    return {"mean": means, "less": {metric: asdict(one) for metric, one in paired(base, values, resamples).items()}}


def _asked(data: Examples, recommender: Recommender, vectors: tf.Tensor, titles: np.ndarray, split: str) -> Asked:
    parts, users = [], 0
    for rows in held_out(data, split, recommender.config.max_length, BATCH):
        parts.append(rows._replace(seen_row=rows.seen_row + users))
        users += len(rows.user)
    rows = Held(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return _seen(recommender, vectors, titles, rows)


def _seen(recommender: Recommender, vectors: tf.Tensor, titles: np.ndarray, rows: Held) -> Asked:
    pieces = np.array_split(rows.history, max(1, len(rows.history) // BATCH))
    h = np.concatenate([recommender.embed(tf.constant(piece), vectors).numpy() for piece in pieces])
    return Asked(rows, h, np.concatenate([likeness.of_users(tf.constant(piece), titles).numpy() for piece in pieces]))


def _judge(form: Scores, asked: Asked) -> dict[str, np.ndarray]:
    """Each of `METRICS` by user (U,), all items being ranked."""
    parts = []
    for low, high in _batches(asked):
        mine = (asked.rows.seen_row >= low) & (asked.rows.seen_row < high)
        user, history, target = (column[low:high] for column in asked.rows[:3])
        rows = Held(user, history, target, asked.rows.seen_row[mine] - low, asked.rows.seen_item[mine])
        above, tied = places(form.scores(asked.h[low:high], asked.titles[low:high]), rows)
        parts.append((user, target, above.numpy(), tied.numpy()))
    found = Outcomes.merge(parts)
    told = metrics.per_user(found.above, found.tied, (5, 10))
    return {name: told[name] for name in METRICS}


def _surprised(form: Scores, asked: Asked) -> float:
    """The mean cross-entropy of the targets that the vocabulary has."""
    parts = [surprise(form.scores(asked.h[low:high], asked.titles[low:high]), asked.rows.target[low:high]).numpy()
             for low, high in _batches(asked)]  # fmt: skip
    return np.concatenate(parts)[asked.rows.target > 0].mean()


def _batches(asked: Asked) -> Iterator[tuple[int, int]]:
    for low in range(0, len(asked.h), BATCH):
        yield low, min(low + BATCH, len(asked.h))
