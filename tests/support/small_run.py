"""A run's folder with the tables, features and examples of a log that a test writes down."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from feature_store import build, examples, folders
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.schema import Field, Schema
from feature_store.table_folder import write_tables

SCHEMA = Schema(user_attributes=(Field("age", "int64"),))
START = datetime(2024, 1, 1, tzinfo=UTC)


def write(folder, log, title, length=3, ages=None, **config):
    """Writes ``tables`` and ``examples`` into ``folder``, and returns both.

    Args:
        log: the items of each user in the order of time. title: of an item. length: of a history. ages: of users.
    """
    events = [
        {
            "user_id": user, "item_id": item, "event_time": START + timedelta(hours=hour), "event_type": "view",
            "value": 1.0, "created_time": START + timedelta(hours=hour),
        }
        for user, items in sorted(log.items()) for hour, item in enumerate(items)
    ]  # fmt: skip
    rows = {
        "users": [{"user_id": user, "age": (ages or {}).get(user)} for user in sorted(log)],
        "items": [
            {"item_id": item, "title": title(item), "categories": ["Kind"]}
            for item in sorted({item for items in log.values() for item in items})
        ],
        "events": events,
    }
    tables = {n: [pa.Table.from_pylist(r, SCHEMA.table(n).arrow())] for n, r in rows.items()}
    write_tables(folder / "tables", SCHEMA, tables, [], {}, {})
    with folders.new_folder(folder / "features") as features:
        folders.write_manifest(features, build.write_views(folder / "tables", None, features, length))
    config = ExampleConfig(shards=2, **config)
    examples.write(folder / "tables", folder / "features", folder / "examples", config, FeatureConfig(length))
    return folder / "tables", folder / "examples"
