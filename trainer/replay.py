"""What exported versions answer to the hold-out's requests, and how two of them compare.

A version is asked as a server asks it, through its SavedModel, with the history of each held-out example; what is
looked at is the place of the example's target in the answer. So two versions with other vocabularies, or of other
models, compare by what users would see: an item that a version does not know is a miss.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tqdm import tqdm

from feature_store import examples as example_files
from trainer import metrics, statistics

CUTOFFS = (5, 10)
TIMED = 64
"""Requests that are timed, one at a time, after as many that are not."""
BATCH = 256
MISS = 1 << 32
"""A place behind every cut-off."""


def answers(version: Path, histories: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """What a version's ``serving_default`` answers to each history: items (U, K) bytes, best first, and their scores
    (U, K)."""
    ask = tf.saved_model.load(str(version)).signatures["serving_default"]
    items, scores = [], []
    for first in tqdm(range(0, len(histories), BATCH), desc=f"version {version.name}", leave=False):
        answer = ask(history=_padded(histories[first : first + BATCH]))
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


def latency(versions: Mapping[str, Path], histories: list[list[str]]) -> dict[str, dict[str, float]]:
    """Milliseconds of a request of one history, p50 and p99 by version; the versions take turns."""
    asks = {name: tf.saved_model.load(str(path)).signatures["serving_default"] for name, path in versions.items()}
    took: dict[str, list[float]] = {name: [] for name in asks}
    for i in range(2 * TIMED):
        request = _padded([histories[i % len(histories)]])
        for name, ask in asks.items():
            start = time.perf_counter()
            ask(history=request)["items"].numpy()
            took[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {f"p{p}": float(np.percentile(each[TIMED:], p)) for p in (50, 99)} for name, each in took.items()
    }


def size(version: Path) -> int:
    """Bytes of a version's folder."""
    return sum(file.stat().st_size for file in version.rglob("*") if file.is_file())


def measure(versions: Mapping[str, Path], examples: Path, out: Path, bootstrap: int) -> dict[str, Any]:
    """Asks every version what the test split's users would; writes ``answers.parquet`` into ``out``.

    Returns:
      ``users``; ``quality``, ``calibration``, ``size`` and ``latency`` by version; where there are two, ``paired``: the
      second less the first by metric; ``segments``: by segment its users and the versions' quality.
    """
    rows = example_files.read_rows(examples, "test", ["user_id", "history", "target", "event_count"])
    histories, targets = rows["history"].to_pylist(), rows["target"].to_pylist()
    given = {name: answers(path, histories) for name, path in versions.items()}
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
        users = int(where.sum())
        own = {n: {m: float(v[where].sum() / max(users, 1)) for m, v in value.items()} for n, value in values.items()}
        split[segment] = {"users": users, "quality": own}
    result: dict[str, Any] = {
        "users": len(targets),
        "quality": means,
        "calibration": {name: calibration(scores, found[name]) for name, (_, scores) in given.items()},
        "segments": split,
        "size": {name: size(path) for name, path in versions.items()},
        "latency": latency(versions, histories),
    }
    if len(versions) == 2:
        one, two = values
        tests = statistics.paired(values[one], values[two], bootstrap)
        result["paired"] = {name: dataclasses.asdict(test) for name, test in tests.items()}
    return result


def same(one: Path, other: Path, examples: Path) -> dict[str, int]:
    """How many of the hold-out's requests two versions answer alike."""
    histories = example_files.read_rows(examples, "test", ["history"])["history"].to_pylist()
    alike = (answers(one, histories)[0] == answers(other, histories)[0]).all(axis=1)
    return {"requests": len(histories), "alike": int(alike.sum())}


def _padded(histories: list[list[str]]) -> tf.Tensor:
    """As the client sends them: one "" in front, and "" behind the shorter ones."""
    longest = max(map(len, histories))
    return tf.constant([["", *history, *[""] * (longest - len(history))] for history in histories], tf.string)
