"""A small table folder to build on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from feature_store.schema import Schema
from feature_store.table_folder import write_tables

SCHEMA = Schema()
ITEMS = [
    ("i1", "Shea &amp; honey soap", ["Bath", "Soap"]),
    ("i2", "", ["Hair"]),
    ("i3", "", []),
    ("i4", "Shea &amp; honey soap", ["Bath", "Soap"]),  # another item with the text of i1
    ("i5", "A brush for the face with soft bristles, made of bamboo, in a linen bag", []),
]


@pytest.fixture
def make_tables(tmp_path):
    """Writes a table folder of two users, the given items (id, title, categories) and an event for each."""

    def make(items=ITEMS, name="tables"):
        start = datetime(2024, 1, 1, tzinfo=UTC)
        events = [
            {
                "user_id": user,
                "item_id": item,
                "event_time": start + timedelta(hours=number),
                "event_type": "view",
                "value": 1.0,
                "created_time": start + timedelta(hours=number),
            }
            for user in ("u1", "u2")
            for number, (item, _, _) in enumerate(items)
        ]
        rows = {
            "users": [{"user_id": "u1"}, {"user_id": "u2"}],
            "items": [{"item_id": i, "title": t, "categories": c} for i, t, c in sorted(items)],
            "events": events,
        }
        tables = {n: [pa.Table.from_pylist(r, SCHEMA.table(n).arrow())] for n, r in rows.items()}
        write_tables(tmp_path / name, SCHEMA, tables, [], {}, {})
        return tmp_path / name

    return make
