"""A small folder of requests with groups, as ``feature_store.conversions`` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_store import requests
from feature_store.request_schema import RequestFeature

ITEMS = [f"i{number:02d}" for number in range(24)]
FEATURES = (
    RequestFeature("age", vocabulary="age"),
    RequestFeature("income", dtype="float32"),
    RequestFeature("entry", side="context", vocabulary="entry"),
    RequestFeature("bought", kind="sequence", vocabulary="item", length=5),
    RequestFeature("bought_count", dtype="float32", log=True),
    RequestFeature("skipped", kind="sequence", vocabulary="item", length=5),
    RequestFeature("group_1", vocabulary="group_1"),
    RequestFeature("group_2", vocabulary="group_2"),
    RequestFeature("prior_age", vocabulary="age"),
    RequestFeature("prior_income", dtype="float32"),
    RequestFeature("group_sequence", kind="sequence", vocabulary="item", length=4),
    RequestFeature("categories", "candidate", "bag", vocabulary="category", length=2),
    RequestFeature("price", "candidate", dtype="float32", log=True),
)


def rows(count: int, seed: int) -> pa.Table:
    """Of 30 users in 4 groups, of which user 0 has none; a group likes every fourth item."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        user = int(random.integers(30))
        group, item = user % 4, int(random.integers(24))
        liked = [ITEMS[i] for i in range(24) if i % 4 == group]
        few = user < 15
        bought = list(random.choice(liked, int(random.integers(0, 2 if few else 7))))
        found.append(
            {
                "user_id": f"u{user:02d}", "request_id": f"{seed}-{number}", "label_time": number,
                "candidates": [ITEMS[item]],
                "labels": [float(random.random() < (0.8 if item % 4 == group else 0.1))],
                "age": None if few and number % 2 else f"a{group}", "income": None if few else float(group),
                "entry": "home" if number % 3 else "search",
                "bought": bought, "bought_count": float(len(bought)), "skipped": [ITEMS[(item + 1) % 24]],
                "group_1": None if user == 0 else str(group // 2),
                "group_2": None if user == 0 or user == 1 else str(group % 2),
                "prior_age": None if user == 0 else f"a{group}", "prior_income": None if user == 0 else float(group),
                "group_sequence": None if user == 0 else liked[:4],
            }
        )  # fmt: skip
    return pa.Table.from_pylist(found)


def write(folder: Path, train: int = 320) -> Path:
    """train, valid and test in ``folder``, with the users' activity, which is returned."""
    items = pa.table(
        {"item_id": ITEMS, "categories": [["all", f"c{i % 4}"] for i in range(24)],
         "price": pa.array([float(i) for i in range(24)], pa.float32())}
    )  # fmt: skip
    splits = {name: rows(count, seed) for seed, (name, count) in enumerate(
        (("train", train), ("valid", 80), ("test", 120)))}  # fmt: skip
    activity = pa.table({"user_id": [f"u{i:02d}" for i in range(30)], "purchases": pa.array(range(30), pa.int64())})
    requests.write(splits, items, FEATURES, folder, 2, beside={"activity.parquet": activity})
    return folder
