"""What a trained ranker makes of queries: each candidate query in the place of its session's (RGAlign-Rec §4.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from feature_store.request_schema import REQUEST_ID, USER_ID
from feature_store.session_requests import CANDIDATE_QUERIES, place_of, vectors_of
from trainer.input import read_records
from trainer.requests import saved as request_saved
from trainer.requests.input import Requests
from trainer.requests.metrics import of_lists
from trainer.requests.scores import Scored

_ROWS = 256  # sessions scored at once


def rewards(
    folder: Path,
    model: Path,
    vectors: Path,
    labels: Mapping[str, Collection[str]] | None = None,
    placed: bool = False,
) -> pa.Table:
    """Judges the candidate queries of the requests in the test split.

    Args:
      folder: of requests, such as those of the fold that the ranker was not trained on. model: ``models/<variant>``.
      vectors: a folder of the candidates' vectors (``session_id``, ``candidate``, ``vector``).
      labels: of each session the intents to judge by, where they are not to be the requests' own.
      placed: the candidates' vectors are moved and stretched to the mean and deviation of those that the ranker was
        trained on, number by number: what is written lies elsewhere than what is about to be.

    Returns:
      ``session_id``, ``candidate``, ``ndcg`` over the whole list, and ``margin``: the best labelled intent's score less
      the best other one's, in cosines. A session that has no request or no candidate has no row.

    Raises:
      ValueError: the ranker has no query tower. DataError: a folder is not whole.
    """
    data = Requests(folder)
    restored = request_saved.load(model, data)
    ranker = restored.ranker
    query = getattr(ranker.model, "query", "")
    if not query:
        raise ValueError(f"{model}: a ranker that rewards queries must have a query tower")
    ranker.dense.pull()
    keys, found = vectors_of(vectors, CANDIDATE_QUERIES, ("session_id", "candidate"))
    if placed:
        found = _placed(found, ranker.model.mean, ranker.model.deviation)
    of_session: dict[str, list[int]] = {}
    for place, (session, _) in enumerate(keys):
        of_session.setdefault(session, []).append(place)
    temperature = float(tf.exp(ranker.model.log_temperature))
    columns: dict[str, list] = {name: [] for name in ("session_id", "candidate", "ndcg", "margin")}
    for shard in data.shards("test"):
        for first in range(0, shard.records, _ROWS):
            count = min(_ROWS, shard.records - first)
            piece = (tf.constant([part], tf.int64) for part in (first, count))
            records = read_records(tf.constant([shard.file]), *piece)
            sessions = _ids(records)
            rows = np.repeat(np.arange(len(sessions)), [len(of_session.get(name, ())) for name in sessions])
            places = [place for name in sessions for place in of_session.get(name, ())]
            if not places:
                continue
            some = tf.nest.map_structure(lambda part, at=rows: tf.gather(part, at), data.parse(records))
            some = some._replace(features={**some.features, query: tf.constant(found[places], tf.float32)})
            logits = ranker.answer(some).logits.numpy()
            given = some.labels.numpy()
            if labels is not None:
                told = [labels[sessions[row]] for row in rows]
                given = _labels(told, data.items.ids, some.candidates.numpy())
            ndcg, margin = judged(logits, given, some.present.numpy())
            columns["session_id"] += [sessions[row] for row in rows]
            columns["candidate"] += [keys[place][1] for place in places]
            columns["ndcg"] += ndcg.tolist()
            columns["margin"] += (margin * temperature).tolist()
    types = {"ndcg": pa.float64(), "margin": pa.float64()}
    return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})


def judged(logits: np.ndarray, labels: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NDCG and margin (n,) of lists (n, C), each with a positive label; the margin is 0 where all are labelled."""
    n, width = logits.shape
    blank = np.full(n, "")
    scored = Scored(blank, blank, np.zeros(n, np.int64), present, labels, logits, {})
    ndcg = of_lists(scored, (width,))[f"ndcg@{width}"]
    best = np.where(present & (labels > 0), logits, -np.inf).max(1)
    other = np.where(present & (labels <= 0), logits, -np.inf).max(1)
    return ndcg, np.where(np.isfinite(other), best - np.where(np.isfinite(other), other, 0), 0.0)


def _placed(vectors: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Vectors (n, D) of that mean and deviation (D,); a number that is the same in all of them is the mean."""
    ours, width = place_of(vectors)
    return ((vectors - ours) / width * deviation + mean).astype(np.float32)


def _labels(told: Sequence[Collection[str]], items: Sequence[str], candidates: np.ndarray) -> np.ndarray:
    """1 (n, C) where a candidate is among those ``told`` of its row, 0 elsewhere."""
    wanted = [[place for place, item in enumerate(items) if item in row] for row in told]
    return np.stack([np.isin(row, of) for row, of in zip(candidates, wanted, strict=True)]).astype(np.float32)


def _ids(records: tf.Tensor) -> list[str]:
    spec = {name: tf.io.FixedLenFeature((), tf.string) for name in (REQUEST_ID, USER_ID)}
    return [name.decode() for name in tf.io.parse_example(records, spec)[REQUEST_ID].numpy()]
