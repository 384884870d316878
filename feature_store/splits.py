"""Which events are targets, and which training may see: leave-one-out and global time splits."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from duckdb import DuckDBPyConnection

from feature_store.config import ExampleConfig
from feature_store.database import connect
from feature_store.errors import DataError

SPLITS = ("train", "valid", "test")

# n counts a user's events from 1; the first `trained` of them may be used in training.
_LEAVE_ONE_OUT = """
    SELECT *, CASE WHEN total >= 3 THEN total - 2 ELSE total END AS trained,
        CASE WHEN total >= 3 AND n = total - 1 THEN 'valid' WHEN total >= 3 AND n = total THEN 'test' END AS
        held
    FROM numbered
"""
_GLOBAL_TIME = """
    SELECT *, count(*) FILTER (WHERE period = 'train') OVER (PARTITION BY user_id) AS trained,
        CASE WHEN period <> 'train' AND n >= 2 AND row_number() OVER (
            PARTITION BY user_id, period, n >= 2 ORDER BY event_time {order}) = 1 THEN period END AS held
    FROM (
        SELECT *, CASE WHEN epoch_us(event_time) < $valid THEN 'train'
            WHEN epoch_us(event_time) < $test THEN 'valid' ELSE 'test' END AS period
        FROM numbered)
"""
# A training row ends at event n and has the min(n - 1, L) events before it as targets' histories; rows L
# apart tile the user's events from the newest on.
_WINDOWS = {"last": "n = trained", "all": "(trained - n) % $length = 0"}


def label_rows(events: Path, examples: ExampleConfig, length: int) -> tuple[pa.Table, dict[str, int]]:
    """The label rows of all splits: split, user_id, target, label_time, targets (int64), in an order that is
    random but fixed (by a hash of user and position). With them the time split's boundaries in microseconds.

    ``leave_one_out``: a user's last event is the test target, the last but one the validation target; users
    with fewer than three events only train. ``global_time``: validation and test start at quantiles of all
    events' times; a user's target is the first event of the period that has an event before it (with ``held: last``
    the last); training sees nothing from the validation period on. ``length`` is L.
    """
    connection, marked, parameters = _marked(events, examples)
    boundaries = dict(parameters)
    if examples.windows == "all":
        parameters["length"] = length
    query = f"""
        WITH {marked},
        labels AS (
            SELECT held AS split, *, 1 AS targets FROM marked WHERE held IS NOT NULL
            UNION ALL
            SELECT 'train', *, least(n - 1, {length}) FROM marked
            WHERE n >= 2 AND n <= trained AND {_WINDOWS[examples.windows]})
        SELECT split, user_id, target, label_time, CAST(targets AS BIGINT) AS targets
        FROM labels ORDER BY md5(concat(n, ' ', user_id)), user_id, n
    """
    return connection.sql(query, params=parameters).to_arrow_table(), boundaries


def activity(events: Path, examples: ExampleConfig) -> pa.Table:
    """What training may see of an item: item_id, count (int64), days (float64) since its last event then."""
    connection, marked, parameters = _marked(events, examples)
    query = f"""
        WITH {marked}, seen AS (
            SELECT target AS item_id, count(*) AS count, max(epoch_us(event_time)) AS newest
            FROM marked WHERE n <= trained GROUP BY target)
        SELECT item_id, count, (max(newest) OVER () - newest) / 86400e6 AS days FROM seen
    """
    return connection.sql(query, params=parameters).to_arrow_table()


def _marked(events: Path, examples: ExampleConfig) -> tuple[DuckDBPyConnection, str, dict[str, int]]:
    """A connection, the tables of a query up to ``marked``, every event with ``held`` and ``trained``, and their
    parameters: the time split's boundaries."""
    connection = connect()
    connection.read_parquet(str(events)).create_view("events")
    boundaries: dict[str, int] = {}
    if examples.split == "global_time":
        quantiles = {"quantiles": [examples.valid_quantile, examples.test_quantile], "after": examples.after}
        query = "SELECT quantile_disc(epoch_us(event_time), $quantiles) FROM events WHERE epoch_us(event_time) > $after"
        [(times,)] = connection.sql(query, params=quantiles).fetchall()
        if times is None:
            raise DataError("no event is later", file=events, field="after", value=examples.after)
        boundaries = dict(zip(("valid", "test"), times, strict=True))
    order = {"first": "ASC", "last": "DESC"}[examples.held]
    held = _GLOBAL_TIME.format(order=order) if boundaries else _LEAVE_ONE_OUT
    tables = f"""numbered AS (
            SELECT user_id, item_id AS target, event_time AS label_time, event_time,
                row_number() OVER (PARTITION BY user_id ORDER BY event_time) AS n,
                count(*) OVER (PARTITION BY user_id) AS total
            FROM events),
        marked AS ({held})"""
    return connection, tables, boundaries
