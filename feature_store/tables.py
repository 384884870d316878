"""Raw record batches to checked tables.

What becomes of odd rows:

- A missing id, an unparsable time, a value of the wrong type, an unknown user or item, a time in the future,
  a line with too few or too many columns: the row is left out of the table and goes to
  ``dead_letter/<table>.jsonl`` with its reason.
- Ids may hold any character, newlines and spaces included; they are kept as they are (vocabulary files
  escape them).
- An event equal to another in user, item, time and type is a duplicate: kept once, the one known latest
  (``created_time``), counted in the manifest. So is a second row of the same user or item: the first is kept.
- Events of one user at the same time keep the log's order: they are moved apart by 0, 1, 2, ... microseconds.
- An impression that was converted without a click is bad, and so is a flag other than 0 and 1. A user's
  impressions of one id are duplicates, and so are equal searches at one time: the first of the log is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.casts import true
from feature_store.errors import DataError
from feature_store.row_checks import Checked, DeadLetter, RawBatch
from feature_store.schema import CREATED_TIME, EVENT_TIME, Schema

LOG_ORDER = "log_order"  # (source number, row) as one int64; dropped by ``finish``
_ROWS_PER_SOURCE = 1 << 40


@dataclass(frozen=True)
class CheckContext:
    """What a row is checked against. ``now`` is in microseconds since 1970.

    ``users`` and ``items`` are the known ids (string arrays); None where the data set has no such table.
    """

    schema: Schema
    now: int
    max_future_seconds: float = 86400.0
    time_unit: str = "s"
    users: pa.Array | None = None
    items: pa.Array | None = None


def check(raw: RawBatch, context: CheckContext) -> tuple[pa.RecordBatch, list[DeadLetter]]:
    """Splits a raw batch into typed rows (the table's columns and ``log_order``) and dead letters.

    A row has one reason, the first that applies. Pure; the batch may be empty.

    Raises:
        DataError: a required column is not there at all.
    """
    table = context.schema.table(raw.table)
    checked = Checked(raw, table.fields, context.time_unit)
    columns = checked.columns
    if EVENT_TIME in columns:
        _check_behaviour(checked, context)
    if raw.table == "impressions":
        _check_flags(checked)
    columns |= _with_defaults(columns, context.schema, raw.table)
    order = raw.source_number * _ROWS_PER_SOURCE + raw.first_row + np.arange(raw.batch.num_rows)
    columns[LOG_ORDER] = pa.array(order)
    good = pa.record_batch(columns).filter(pa.array(checked.reasons == "", pa.bool_()))
    return good, checked.dead_letters()


def _check_behaviour(checked: Checked, context: CheckContext) -> None:
    """What events, impressions and searches have in common: times that are over, and known users and items."""
    columns, latest = checked.columns, int(context.now + context.max_future_seconds * 1e6)
    for name in (name for name in (EVENT_TIME, CREATED_TIME) if name in columns):
        late = pc.greater(columns[name].cast(pa.int64()), latest)
        checked.mark(true(late), f"time in the future in {name}")
    for name, known in (("user", context.users), ("item", context.items)):
        if known is not None and f"{name}_id" in columns:
            found = pc.is_in(columns[f"{name}_id"], value_set=known)
            checked.mark(~found.to_numpy(zero_copy_only=False), f"unknown {name}")


def _check_flags(checked: Checked) -> None:
    clicked, converted = checked.columns["clicked"], checked.columns["converted"]
    for name, values in (("clicked", clicked), ("converted", converted)):
        other = pc.invert(pc.is_in(values, value_set=pa.array([0, 1], pa.int8())))
        checked.mark(true(pc.and_(other, pc.is_valid(values))), f"neither 0 nor 1 in {name}")
    checked.mark(true(pc.and_(pc.equal(clicked, 0), pc.equal(converted, 1))), "converted without a click")


def _with_defaults(columns: Mapping[str, pa.Array], schema: Schema, table: str) -> dict[str, pa.Array]:
    """The fixed columns never hold a null; attributes may (a view's default stands in later)."""
    attributes = {f.name for f in (*schema.user_attributes, *schema.item_attributes, *schema.impression_context)}
    filled = {}
    for field in schema.table(table).fields:
        values = columns[field.name]
        if field.name in attributes or field.required or not values.null_count:
            continue
        if field.name == CREATED_TIME:
            filled[field.name] = pc.coalesce(values, columns[EVENT_TIME])
        else:
            filled[field.name] = pc.if_else(pc.is_null(values), pa.scalar(field.empty(), values.type), values)
    return filled


def finish(name: str, rows: pa.Table) -> tuple[pa.Table, int]:
    """Checked rows of one table to the table as it is stored, and the number of duplicates left out.

    ``rows`` must hold all rows of the ids it holds (all users, or all of some users); their order does not
    matter.
    """
    if name == "events":
        return finish_events(rows)
    keys = {"impressions": ("user_id", "impression_id"), "searches": ("user_id", EVENT_TIME, "query")}
    return finish_rows(rows, keys.get(name, rows.schema.names[:1]))


def finish_rows(rows: pa.Table, key: Sequence[str]) -> tuple[pa.Table, int]:
    """Any table but events: one row a key (the first of the log), sorted by it."""
    rows = rows.sort_by([*((name, "ascending") for name in key), (LOG_ORDER, "ascending")])
    first = np.ones(rows.num_rows, bool)
    if rows.num_rows > 1:
        columns = [rows[name].combine_chunks() for name in key]
        first[1:] = np.logical_or.reduce([pc.not_equal(c[1:], c[:-1]).to_numpy(zero_copy_only=False) for c in columns])
    return rows.filter(pa.array(first)).drop_columns([LOG_ORDER]), int((~first).sum())


def finish_events(rows: pa.Table) -> tuple[pa.Table, int]:
    """Events: duplicates dropped, ties in time broken in log order, sorted by (user, time)."""
    same = ["user_id", EVENT_TIME, "item_id", "event_type"]
    rows = rows.sort_by(
        [*((c, "ascending") for c in same), (CREATED_TIME, "descending"), (LOG_ORDER, "ascending")]
    )
    duplicate = np.zeros(rows.num_rows, bool)
    if rows.num_rows > 1:
        equal = [pc.equal(rows[c][1:], rows[c][:-1]).to_numpy() for c in same]
        duplicate[1:] = np.logical_and.reduce(equal)
    rows = rows.filter(pa.array(~duplicate))
    rows = rows.sort_by([("user_id", "ascending"), (EVENT_TIME, "ascending"), (LOG_ORDER, "ascending")])
    users = rows["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    moved = _strictly_increasing(users, rows[EVENT_TIME].cast(pa.int64()).to_numpy())
    # Nothing is known before it happens: a row whose log has no created_time moves along.
    created = np.maximum(rows[CREATED_TIME].cast(pa.int64()).to_numpy(), moved)
    for name, times in ((EVENT_TIME, moved), (CREATED_TIME, created)):
        column = pa.array(times).cast(rows.schema.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows.drop_columns([LOG_ORDER]), int(duplicate.sum())


def _strictly_increasing(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """t'_i = max(t_i, t'_{i-1} + 1) within each user; ``users`` (N,) codes, ``times`` (N,) sorted within a
    user.

    With i counted from the user's first row, t'_i - i is the running maximum of t_i - i.
    """
    groups = pd.Series(users).groupby(users)
    position = groups.cumcount().to_numpy()
    return pd.Series(times - position).groupby(users).cummax().to_numpy() + position


def entities(schema: Schema, name: str, ids: pa.Array) -> pa.Table:
    """Users or items of a data set without such a table: the ids of its events, all else at its default."""
    table = schema.table(name)
    ids = pc.unique(ids).cast(pa.string()).sort()
    columns = {table.key: ids}
    for field in table.fields[1:]:
        columns[field.name] = pa.array([field.empty()] * len(ids), field.arrow_type)
    return pa.table(columns, schema=table.arrow())


def require_few_bad(name: str, rows: int, bad: int, max_bad_share: float, reasons: Mapping[str, int]) -> None:
    """Call before anything is written.

    Raises:
        DataError: the table is empty, or more than ``max_bad_share`` of its rows are dead letters.
    """
    if rows == 0 and bad == 0:
        raise DataError("the table has no rows", field=name)
    share = bad / (rows + bad)
    if share > max_bad_share:
        raise DataError(
            f"{bad} of {rows + bad} rows are bad, more than max_bad_share={max_bad_share} allows",
            field=name,
            value=dict(reasons),
        )
    if rows == 0:
        raise DataError("no row is good", field=name, value=dict(reasons))
