"""A small folder of requests as the chatbot's are: all intents are candidates, with text, and queries that tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_store import requests
from feature_store.request_schema import RequestFeature

INTENTS = [f"i{number}" for number in range(6)]
TEXT = np.eye(6, 5, dtype=np.float32) + 0.1
QUERY = 4

FEATURES = (
    RequestFeature("region", dtype="int64", vocabulary="region"),
    RequestFeature("days", side="context", dtype="float32", log=True),
    RequestFeature("said", side="context", hash_buckets=16),
    RequestFeature("clicks", kind="sequence", vocabulary="item", length=3),
    RequestFeature("hours", kind="sequence", dtype="float32", length=3, log=True),
    RequestFeature("pages", kind="sequence", dtype="int64", vocabulary="pages", length=3),
    RequestFeature("category", "candidate", vocabulary="category"),
    RequestFeature("intent_text", "candidate", "vector", "float32", length=5),
    RequestFeature("query", "context", "vector", "float32", length=QUERY),
)


def rows(count: int, seed: int) -> pa.Table:
    """The wanted intent is that of the region, or for odd days the next; the query points to it, with noise."""
    random = np.random.default_rng(seed)
    found, directions = [], np.random.default_rng(9).normal(size=(6, QUERY))
    for number in range(count):
        region, days = int(random.integers(1, 4)), float(random.integers(0, 5))
        wanted = (2 * (region - 1) + int(days) % 2) % 6
        length = int(random.integers(0, 4))
        query = directions[wanted] + 0.3 * random.normal(size=QUERY)
        found.append({
            "user_id": f"u{number % 7}", "request_id": f"r{seed}-{number}", "label_time": number,
            "candidates": [INTENTS[wanted]], "labels": [1.0], "region": region, "days": days,
            "said": f"words {wanted % 3}", "clicks": [INTENTS[i] for i in random.integers(6, size=length)],
            "hours": [float(length - i) for i in range(length)], "pages": [1, 2, 3][:length],
            "query": None if number % 5 == 4 else query.tolist(),
        })  # fmt: skip
    return pa.Table.from_pylist(found)


def write(folder: Path, train: int = 240, every_item: bool = True) -> Path:
    """train, valid and test in ``folder``, which is returned."""
    items = pa.table({"item_id": INTENTS, "category": ["a", "a", "b", "b", "c", "c"], "intent_text": TEXT.tolist()})
    splits = {name: rows(count, seed) for seed, (name, count) in enumerate(
        (("train", train), ("valid", 60), ("test", 60)))}  # fmt: skip
    about = {"coupled": {"clicks": ["clicks", "hours"]},
             "query": {"width": QUERY, "model_id": "m", "adapter_version": "base", "mean": [0.1] * QUERY,
                       "deviation": [1.2] * QUERY}}  # fmt: skip
    requests.write(splits, items, FEATURES, folder, 2, about, every_item=every_item)
    return folder
