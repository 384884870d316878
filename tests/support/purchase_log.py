"""Tables of a few users who buy and search, for the tests of profiles, groups and priors."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from feature_store.schema import Field, Schema
from feature_store.table_folder import write_tables
from feature_store.tables import finish_events

SCHEMA = Schema(
    user_attributes=(Field("city"), Field("age", "int64"), Field("income", "float32")), optional=("searches",)
)
DAY = 86_400_000_000


def write(folder: Path, users: dict, items: dict, events: list, searches: list = (), test_start: int = 0) -> Path:
    """
    Args:
        users: id -> (city, age, income). items: id -> categories. events: (user, item, microseconds[, type]), a
        purchase where no type is given. searches: (user, query, microseconds).
    """
    whole = [(*event, "purchase")[:4] for event in events]
    times = pa.array([event[2] for event in whole], pa.timestamp("us", tz="UTC"))
    columns = {
        "user_id": pa.array([event[0] for event in whole], pa.string()),
        "item_id": pa.array([event[1] for event in whole], pa.string()),
        "event_time": times,
        "event_type": pa.array([event[3] for event in whole], pa.string()),
        "value": pa.array([1.0] * len(whole), pa.float32()),
        "created_time": times,
        "log_order": range(len(whole)),
    }
    people = [
        {"user_id": user, "city": city, "age": age, "income": income}
        for user, (city, age, income) in sorted(users.items())
    ]
    goods = [{"item_id": item, "title": item, "categories": names} for item, names in sorted(items.items())]
    sought = [{"user_id": user, "query": query, "event_time": time} for user, query, time in sorted(searches)]
    tables = {
        "users": [pa.Table.from_pylist(people, SCHEMA.table("users").arrow())],
        "items": [pa.Table.from_pylist(goods, SCHEMA.table("items").arrow())],
        "events": [finish_events(pa.table(columns))[0]],
        "searches": [pa.Table.from_pylist(sought, SCHEMA.table("searches").arrow())],
    }
    write_tables(folder, SCHEMA, tables, [], {}, {"test_start": test_start} if test_start else {})
    return folder
