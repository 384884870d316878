"""What exported versions answer to the hold-out's requests, and how two of them compare.

A version is asked as a server asks it, through its SavedModel, with the history of each held-out example and with what
the feature store knows of its user, if the version adds such knowledge; what is looked at is the place of the example's
target in the answer. So two versions with other vocabularies, or of other models, compare by what users would see: an
item that a version does not know is a miss.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tqdm import tqdm

from feature_store import examples as example_files
from feature_store import knowledge_view
from feature_store.user_knowledge import UserKnowledge
from trainer import metrics, statistics

CUTOFFS = (5, 10)
TIMED = 64
"""Requests that are timed, one at a time, after as many that are not."""
BATCH = 256
MISS = 1 << 32
"""A place behind every cut-off."""


def known_of(version: Path, view: Path | None, users: list[str]) -> UserKnowledge | None:
    """What the feature store's knowledge view knows of users, as far as the version's own model and adapter made it;
    None without a view, or for a version that adds no knowledge.

    Raises:
      DataError: the folder is no view.
    """
    if view is None:
        return None
    manifest = json.loads((version / "assets.extra" / "manifest.json").read_text(encoding="utf-8"))
    if not manifest.get("knowledge"):
        return None
    with knowledge_view.opened(view) as store:
        return store.read(users, **manifest["knowledge"])


def answers(
    version: Path, histories: list[list[str]], known: UserKnowledge | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What a version answers to each history, and to what is ``known`` of its user where that is given: items (U, K)
    bytes, best first, and their scores (U, K)."""
    ask, items, scores = _asks(version, known), [], []
    for first in tqdm(range(0, len(histories), BATCH), desc=f"version {version.name}", leave=False):
        answer = ask(**_request(histories, known, slice(first, first + BATCH)))
        items.append(answer["items"].numpy())
        scores.append(answer["scores"].numpy())
    return np.concatenate(items), np.concatenate(scores)


def places(items: np.ndarray, targets: list[str]) -> np.ndarray:
    """Where the target stands in each answer (U, K), from 0: (U,) int64, ``MISS`` where it does not."""
    hits = items == np.array([target.encode() for target in targets], object)[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), MISS)


def per_user(found: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics by name, one value a user (U,)."""
    return metrics.per_user(found, np.zeros_like(found), CUTOFFS)


def calibration(scores: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """How far a version's scores are from the chances that its items have, where the target is in its answer.

    Of a model of log-probabilities, softmax of an answer's scores (U, K) is the chance of each place to hold the
    target, given that one does. Over such users the chances and the targets, at ``found`` (U,), are summed by places
    (the first; two more; four more; …); ``error`` is the share of all chance that lies at the wrong ones, from 0 to 1.
    """
    there = found < scores.shape[1]
    hits = int(there.sum())
    if not hits:
        return {"hits": 0, "error": 0.0}
    raised = np.exp(scores[there].astype(np.float64) - scores[there].max(axis=1, keepdims=True))
    chances = (raised / raised.sum(axis=1, keepdims=True)).mean(axis=0)  # (K,)
    shares = np.bincount(found[there], minlength=scores.shape[1]) / hits  # (K,)
    begins = [2**power - 1 for power in range(scores.shape[1].bit_length())]
    return {"hits": hits, "error": float(np.abs(np.add.reduceat(chances - shares, begins)).sum() / 2)}


def segments(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Users by the number of their events before the target (U,): thirds of them, as masks (U,)."""
    low, high = np.quantile(counts, [1 / 3, 2 / 3])
    return {"few events": counts <= low, "some events": (counts > low) & (counts <= high), "many events": counts > high}


def latency(
    versions: Mapping[str, Path], histories: list[list[str]], known: Mapping[str, UserKnowledge | None]
) -> dict[str, dict[str, float]]:
    """Milliseconds of a request of one history, p50 and p99 by version; the versions take turns. To look up what is
    ``known`` of the user is not in them."""
    asks = {name: _asks(path, known[name]) for name, path in versions.items()}
    took: dict[str, list[float]] = {name: [] for name in asks}
    for i in range(2 * TIMED):
        at = i % len(histories)
        for name, ask in asks.items():
            request = _request(histories, known[name], slice(at, at + 1))
            start = time.perf_counter()
            ask(**request)["items"].numpy()
            took[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {f"p{p}": float(np.percentile(each[TIMED:], p)) for p in (50, 99)} for name, each in took.items()
    }


def size(version: Path) -> int:
    """Bytes of a version's folder."""
    return sum(file.stat().st_size for file in version.rglob("*") if file.is_file())


def measure(
    versions: Mapping[str, Path], examples: Path, out: Path, bootstrap: int, views: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Asks every version what the test split's users would; writes ``answers.parquet`` into ``out``.

    Args:
      views: the knowledge views that serving looks users up in, by version, of those that have one.

    Returns:
      ``users``; ``quality``, ``calibration``, ``size`` and ``latency`` by version; ``known``, users of whom something
      was, by version that adds knowledge; where there are two, ``paired``: the second less the first by metric;
      ``segments``: by segment its users and the versions' quality.
    """
    rows = example_files.read_rows(examples, "test", ["user_id", "history", "target", "event_count"])
    histories, targets = rows["history"].to_pylist(), rows["target"].to_pylist()
    users = rows["user_id"].to_pylist()
    known = {name: known_of(path, (views or {}).get(name), users) for name, path in versions.items()}
    given = {name: answers(path, histories, known[name]) for name, path in versions.items()}
    found = {name: places(items, targets) for name, (items, _) in given.items()}
    values = {name: per_user(place) for name, place in found.items()}
    out.mkdir(parents=True, exist_ok=True)
    columns = {f"{name}_place": place for name, place in found.items()}
    table = pa.table({"user_id": rows["user_id"], "target": rows["target"], **columns})
    pq.write_table(table, out / "answers.parquet")
    means = {
        name: {metric: float(each.mean()) for metric, each in value.items()} for name, value in values.items()
    }
    split = {}
    for segment, where in segments(rows["event_count"].to_numpy()).items():
        count = int(where.sum())
        own = {n: {m: float(v[where].sum() / max(count, 1)) for m, v in value.items()} for n, value in values.items()}
        split[segment] = {"users": count, "quality": own}
    result: dict[str, Any] = {
        "users": len(targets),
        "quality": means,
        "calibration": {name: calibration(scores, found[name]) for name, (_, scores) in given.items()},
        "segments": split,
        "size": {name: size(path) for name, path in versions.items()},
        "latency": latency(versions, histories, known),
        "known": {name: int(one.mask.any(axis=1).sum()) for name, one in known.items() if one is not None},
    }
    if len(versions) == 2:
        one, two = values
        tests = statistics.paired(values[one], values[two], bootstrap)
        result["paired"] = {name: dataclasses.asdict(test) for name, test in tests.items()}
    return result


def same(one: Path, other: Path, examples: Path, view: Path | None = None) -> dict[str, int]:
    """How many of the hold-out's requests two versions answer alike, told what ``view`` knows of the users."""
    rows = example_files.read_rows(examples, "test", ["user_id", "history"])
    users, histories = (rows[name].to_pylist() for name in ("user_id", "history"))
    first, second = (answers(path, histories, known_of(path, view, users))[0] for path in (one, other))
    alike = (first == second).all(axis=1)
    return {"requests": len(histories), "alike": int(alike.sum())}


def _asks(version: Path, known: UserKnowledge | None) -> Callable[..., dict[str, tf.Tensor]]:
    return tf.saved_model.load(str(version)).signatures["serving_default" if known is None else "recommend_known"]


def _request(histories: list[list[str]], known: UserKnowledge | None, rows: slice) -> dict[str, tf.Tensor]:
    asked = {"history": _padded(histories[rows])}
    if known is not None:
        asked |= {"knowledge": tf.constant(known.vectors[rows]), "knowledge_mask": tf.constant(known.mask[rows])}
    return asked


def _padded(histories: list[list[str]]) -> tf.Tensor:
    """As the client sends them: one "" in front, and "" behind the shorter ones."""
    longest = max(map(len, histories))
    return tf.constant([["", *history, *[""] * (longest - len(history))] for history in histories], tf.string)
