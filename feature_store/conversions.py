"""Clicked impressions as labelled requests, with what was known of the user and its group just before."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from feature_store import folders, requests
from feature_store.conversion_config import ConversionConfig
from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.group_request import CODE, GROUP_CATEGORIES, GROUP_SEQUENCE, PRIOR
from feature_store.request_schema import ITEM, RequestFeature
from feature_store.schema import Field, Schema
from feature_store.table_folder import read_manifest as read_tables
from feature_store.training_window import training_end

USER, BOUGHT, COUNT, SKIPPED = "user", "bought", "bought_count", "skipped"
CATEGORY = "category"
ACTIVITY = "activity.parquet"
"""Beside the requests: ``user_id``, ``purchases`` (int64): those of training, of every user of the tables."""


def write(
    tables: Path, groups: Path | None, priors: Path | None, out: Path, config: ConversionConfig
) -> dict[str, Any]:
    """Writes a folder of requests, one a clicked impression, whole, and returns its manifest.

    The test begins where ``test_start`` says, else the tables. What is learnt from begins where the window ended that
    the groups and priors were made of: they know what was bought in it, so a model that learnt from the same purchases
    would find them there, and miss them in the test. The latest ``valid_share`` of it is for validation. With
    ``overlap`` all that is before the groups' window ended is learnt from, and the rest before the test validates;
    without groups all is learnt from but the latest share.

    Features, where ``bought`` is the newest items the user had bought before the impression, ``bought_count`` how many
    those were in all, ``skipped`` the newest it had clicked and not bought, ``group_1`` and on the codes of its group
    as far as the group's level goes, ``prior_…`` and ``group_sequence`` what is known of its group. A user without a
    group has none of the last.

    Args:
        groups, priors: folders of the two, both or neither.

    Raises:
        DataError: a folder is not whole; the tables have no impressions or say no ``test_start``; priors are of other
            groups, or of a window that goes on until the test; no impression to train on is clicked.
    """
    manifest = read_tables(tables)
    schema = Schema.from_json(manifest["schema"])
    test = manifest.get("source", {}).get("test_start")
    if config.test_start:
        test = training_end(manifest, config.test_start)
    if "impressions" not in manifest["tables"]:
        raise DataError("the tables have no impressions", file=tables, field="tables", value=list(manifest["tables"]))
    if test is None:
        raise DataError("the tables do not say when the test starts", file=tables, field="test_start")
    connection = connect()
    for name in manifest["tables"]:
        connection.read_parquet(str(Path(tables) / f"{name}.parquet")).create_view(name)
    made: dict[str, Any] | None = None
    levels = 0
    if groups is not None and priors is not None:
        made, levels = _group_views(connection, Path(groups), Path(priors), config)
    if made and made["training_end"] >= test:
        rule = f"must end before the test begins ({test}): set profiles.end"
        raise DataError(rule, file=priors, field="training_end", value=made["training_end"])
    first = made["training_end"] if made and not config.overlap else None
    known = made and config.overlap
    valid = made["training_end"] if known else _valid_start(connection, first, test, config, tables)
    about = {"boundaries": {"train": first, "valid": valid, "test": test}, "groups": made}
    columns, features = _columns(schema, connection, levels, config)
    with tempfile.TemporaryDirectory(dir=Path(out).parent if Path(out).parent.is_dir() else None) as scratch:
        splits = {}
        for split, period in (("train", (first, valid)), ("valid", (valid, test)), ("test", (test, None))):
            splits[split] = Path(scratch) / f"{split}.parquet"
            _select(connection, columns, _within("i.t", *period), levels, config, splits[split])
        splits = {split: path for split, path in splits.items() if pq.read_metadata(path).num_rows or split == "train"}
        beside = {ACTIVITY: _activity(connection, valid, config)}
        return requests.write(splits, _items(connection, schema), features, out, config.shards, about, beside)


def _valid_start(
    connection: DuckDBPyConnection, first: int | None, test: int, config: ConversionConfig, tables: Path
) -> int:
    query = f"""SELECT quantile_disc(epoch_us(event_time), {1 - config.valid_share}) FROM impressions
        WHERE clicked = 1 AND {_within("epoch_us(event_time)", first, test)}"""
    ((valid,),) = connection.sql(query).fetchall()
    if valid is None:
        since = "" if first is None else f" and from {first} on: set profiles.end"
        rule = f"no clicked impression is before the test{since}"
        raise DataError(rule, file=tables, field="test_start", value=test)
    return valid


def _within(time: str, first: int | None, end: int | None) -> str:
    """The condition that ``time`` is at or after the one and before the other, of those there are."""
    bounds = [f"{time} >= {first}"] * (first is not None) + [f"{time} < {end}"] * (end is not None)
    return " AND ".join(bounds)


def _group_views(
    connection: DuckDBPyConnection, groups: Path, priors: Path, config: ConversionConfig
) -> tuple[dict[str, Any], int]:
    """Makes the views ``groups`` and ``priors`` (by user); returns what the manifest says of them, and M."""
    told = folders.read_manifest_of("groups", groups, "groups", False)
    made = folders.read_manifest_of("priors", priors, "priors", False)
    if made["version"] != told["version"]:
        rule = f"is of other groups than {told['version']!r}"
        raise DataError(rule, file=priors, field="version", value=made["version"])
    connection.read_parquet(str(groups / "users.parquet")).create_view("groups")
    alone = priors / "users.parquet"
    if config.leave_one_out and alone.exists():
        connection.read_parquet(str(alone)).create_view("priors")
    else:
        connection.read_parquet(str(priors / "groups.parquet")).create_view("group_priors")
        connection.sql('SELECT g.user_id, p.* FROM groups g JOIN group_priors p USING ("group")').create_view("priors")
    ((levels,),) = connection.sql("SELECT coalesce(max(len(codes)), 0) FROM groups").fetchall()
    return {"version": told["version"], "levels": levels, "training_end": made["training_end"]}, levels


def _columns(
    schema: Schema, connection: DuckDBPyConnection, levels: int, config: ConversionConfig
) -> tuple[dict[str, str], list[RequestFeature]]:
    """By feature of requests the SQL that gives it, and every feature's declaration."""
    columns, features = {}, []

    def add(feature: RequestFeature, sql: str) -> None:
        features.append(feature)
        columns[feature.name] = sql

    for field in schema.user_attributes:
        add(_feature(field, "user", config), f'u."{field.name}"')
    for field in schema.impression_context:
        add(_feature(field, "context", config), f'i."{field.name}"')
    items = RequestFeature(BOUGHT, kind="sequence", vocabulary=ITEM, length=config.history)
    add(items, _newest("b", "i.t", config.history))
    add(RequestFeature(COUNT, dtype="float32", log=True), f"coalesce({_before('b', 'i.t')}, 0)")
    add(replace(items, name=SKIPPED), _newest("s", "i.t", config.history))
    if config.user_buckets:
        add(RequestFeature(USER, hash_buckets=config.user_buckets), "i.user_id")
    for level in range(1, levels + 1):
        name = f"{CODE}{level}"
        code = f"CASE WHEN g.level >= {level} THEN CAST(g.codes[{level}] AS VARCHAR) END"
        add(RequestFeature(name, vocabulary=name), code)
    if levels:
        there = connection.sql("FROM priors").columns
        for field in schema.user_attributes:
            if field.name in there:
                prior = _feature(field, "user", config)
                add(replace(prior, name=PRIOR + field.name), f'p."{field.name}"')
        length = config.group_history
        add(replace(items, name=GROUP_SEQUENCE, length=length), f"p.sequence[-{length}:]")
        if _has_categories(connection):
            top = RequestFeature(GROUP_CATEGORIES, kind="bag", vocabulary=CATEGORY, length=config.top_categories)
            add(top, f"p.top_categories[:{config.top_categories}]")
    for field in schema.item_attributes:
        features.append(_feature(field, "candidate", config))
    if _has_categories(connection):
        path = RequestFeature("categories", "candidate", "bag", vocabulary=CATEGORY, length=config.categories)
        features.append(path)
    return columns, features


def _feature(field: Field, side: str, config: ConversionConfig) -> RequestFeature:
    if field.dtype == "float32":
        return RequestFeature(field.name, side, dtype="float32", log=field.name in config.logged)
    if field.name in config.numeric:
        return RequestFeature(field.name, side, dtype="float32", log=True)
    return RequestFeature(field.name, side, dtype=field.dtype, vocabulary=field.name)


def _before(held: str, time: str) -> str:
    """How many of a user's sorted ``times`` are before one."""
    return f"len(list_filter({held}.times, lambda x: x < {time}))"


def _newest(held: str, time: str, count: int) -> str:
    return f"list_slice({held}.items, greatest({_before(held, time)} - {count} + 1, 1), {_before(held, time)})"


def _select(
    connection: DuckDBPyConnection,
    columns: dict[str, str],
    when: str,
    levels: int,
    config: ConversionConfig,
    out: Path,
) -> None:
    """Requests of one period to Parquet, in an order that is random but fixed: a hash of the impression's id."""
    grouped = "LEFT JOIN groups g USING (user_id) LEFT JOIN priors p USING (user_id)" if levels else ""
    told = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    connection.execute(f"""
        COPY (
            WITH i AS (SELECT *, epoch_us(event_time) AS t FROM impressions WHERE clicked = 1),
            b AS (
                SELECT user_id, list(item_id ORDER BY event_time, item_id) AS items,
                    list(epoch_us(event_time) ORDER BY event_time, item_id) AS times
                FROM events WHERE {_bought(config, "event_type")} GROUP BY user_id),
            s AS (
                SELECT user_id, list(item_id ORDER BY event_time, impression_id) AS items,
                    list(epoch_us(event_time) ORDER BY event_time, impression_id) AS times
                FROM impressions WHERE clicked = 1 AND converted = 0 GROUP BY user_id)
            SELECT i.user_id, i.impression_id AS request_id, i.t AS label_time, [i.item_id] AS candidates,
                [CAST(i.converted AS FLOAT)] AS labels, {told}
            FROM i LEFT JOIN users u USING (user_id) LEFT JOIN b USING (user_id) LEFT JOIN s USING (user_id) {grouped}
            WHERE {when}
            ORDER BY md5(i.impression_id), i.impression_id
        ) TO '{out}' (FORMAT parquet)""")


def _bought(config: ConversionConfig, column: str) -> str:
    return f"{column} = '{config.purchase.replace(chr(39), 2 * chr(39))}'" if config.purchase else "true"


def _activity(connection: DuckDBPyConnection, valid: int, config: ConversionConfig) -> pa.Table:
    return connection.sql(f"""
        SELECT u.user_id, count(e.item_id) AS purchases FROM users u LEFT JOIN events e ON e.user_id = u.user_id
            AND {_bought(config, "e.event_type")} AND epoch_us(e.event_time) < {valid}
        GROUP BY u.user_id ORDER BY u.user_id""").to_arrow_table()


def _items(connection: DuckDBPyConnection, schema: Schema) -> pa.Table:
    names: Sequence[str] = ["item_id", "categories", *(field.name for field in schema.item_attributes)]
    return connection.sql(f"SELECT {', '.join(names)} FROM items").to_arrow_table()


def _has_categories(connection: DuckDBPyConnection) -> bool:
    return bool(connection.sql("SELECT 1 FROM items WHERE len(categories) > 0 LIMIT 1").fetchall())
