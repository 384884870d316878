"""A small folder of labelled requests whose labels follow from their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_store import requests
from feature_store.request_schema import RequestFeature

ITEMS = [f"i{number:02d}" for number in range(30)]
CATEGORIES = ["books", "games", "tea"]

FEATURES = (
    RequestFeature("age", vocabulary="age"),
    RequestFeature("purchases", kind="sequence", vocabulary="item", length=4),
    RequestFeature("purchase_count", dtype="float32", log=True),
    RequestFeature("tags", kind="bag", hash_buckets=11, length=3),
    RequestFeature("mood", kind="vector", dtype="float32", length=2),
    RequestFeature("gaps", kind="sequence", dtype="float32", length=4),
    RequestFeature("entry", side="context", vocabulary="entry"),
    RequestFeature("hour", side="context", dtype="int64", hash_buckets=24),
    RequestFeature("category", side="candidate", vocabulary="category"),
    RequestFeature("price", side="candidate", dtype="float32"),
)


def items() -> pa.Table:
    return pa.table(
        {
            "item_id": ITEMS,
            "category": [CATEGORIES[number % 3] for number in range(len(ITEMS))],
            "price": pa.array([float(number) for number in range(len(ITEMS))], pa.float32()),
        }
    )


def rows(count: int, slate: int = 1, seed: int = 0) -> pa.Table:
    """Requests of 20 users; users of even age like tea, the others books."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        user = int(random.integers(20))
        candidates = [ITEMS[i] for i in random.choice(30, int(random.integers(1, slate + 1)), replace=False)]
        liked = "tea" if user % 2 else "books"
        chance = [0.8 if CATEGORIES[int(item[1:]) % 3] == liked else 0.1 for item in candidates]
        found.append(
            {
                "user_id": f"u{user:02d}",
                "request_id": f"r{number}",
                "label_time": 1_000_000 * number,
                "candidates": candidates,
                "labels": [float(random.random() < p) for p in chance],
                "age": None if user % 5 == 0 else str(user),
                "purchases": [ITEMS[i] for i in random.choice(30, int(random.integers(0, 7)))],
                "purchase_count": None if user == 3 else float(user),
                "tags": ["a", "b"][: int(random.integers(3))],
                "mood": [float(user), 1.0],
                "gaps": [1.0, 2.0],
                "entry": "home" if number % 2 else "search",
                "hour": number % 24,
            }
        )
    return pa.Table.from_pylist(found)


def write(folder: Path, slate: int = 1, train: int = 160) -> Path:
    """train, valid and test in ``folder``, which is returned."""
    splits = {name: rows(count, slate, seed) for seed, (name, count) in enumerate(
        (("train", train), ("valid", 60), ("test", 60)))}  # fmt: skip
    requests.write(splits, items(), FEATURES, folder, shards=3)
    return folder
