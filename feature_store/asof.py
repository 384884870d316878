"""Point-in-time join: to each label row, each feature as it was just before the label's time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.schema import CREATED_TIME, EVENT_TIME, FeatureView

Rows = pa.Table | str | Path | Sequence[str | Path]


def asof_join(
    labels: Rows,
    features: Rows,
    view: FeatureView,
    *,
    label_time: str = "label_time",
    strict: bool = True,
    threads: int = 0,
    memory_limit: str = "",
    batch_rows: int = 1 << 16,
) -> Iterator[pa.RecordBatch]:
    """Adds the view's features to the label rows. DuckDB's ``ASOF JOIN``.

    A label row takes the feature row of its key with the latest ``event_time`` before ``label_time`` (at or
    before it where ``strict`` is false); of several at that time, the one with the latest ``created_time``.
    Every label row comes out exactly once, in no particular order; a feature that is null or that no row
    gives takes the schema's default.

    Args:
        labels: rows with the view's key and ``label_time`` (timestamp with time zone); an Arrow table or
        Parquet. features: rows of ``view.arrow()``; an Arrow table or Parquet.
        threads, memory_limit: DuckDB's settings ("4GB"); left out, DuckDB's own. What does not fit goes to
        disk.

    Raises:
        DataError: a column is missing, a label column has a feature's name, or ``label_time`` is no
        timestamp.
    """
    connection = connect(threads, memory_limit)
    label_types = _register(connection, "labels", labels)
    feature_types = _register(connection, "features", features)
    _require(label_types, feature_types, view, label_time)
    columns, defaults = [], []
    for field in view.features:
        kind = feature_types[field.name]
        columns.append(f'coalesce(f."{field.name}", CAST(? AS {kind})) AS "{field.name}"')
        defaults.append(field.empty())
    # Comparing (time, created) pairs puts the tie-break into the one inequality an ASOF JOIN has; an infinity
    # on the label's side makes it strict or not. Sorting only the labels' keys is what makes it fast.
    bound, operator = ("-infinity", ">") if strict else ("infinity", ">=")
    query = f"""
        SELECT l.*, {", ".join(columns)}
        FROM labels l ASOF LEFT JOIN (
            SELECT *, row("{EVENT_TIME}", coalesce("{CREATED_TIME}", "{EVENT_TIME}")) AS known
            FROM features WHERE "{view.key}" IN (SELECT "{view.key}" FROM labels)
        ) f ON l."{view.key}" = f."{view.key}"
            AND row(l."{label_time}", TIMESTAMPTZ '{bound}') {operator} f.known
    """
    yield from connection.sql(query, params=defaults).to_arrow_reader(batch_rows)


def _register(connection: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> dict[str, str]:
    """Makes ``rows`` a view of that name; returns the DuckDB type of each column."""
    if isinstance(rows, pa.Table):
        connection.register(name, rows)
    else:
        paths = [str(path) for path in ([rows] if isinstance(rows, str | Path) else rows)]
        try:
            connection.read_parquet(paths).create_view(name)
        except duckdb.Error as error:
            raise DataError(f"cannot be read as Parquet: {error}", file=", ".join(paths)) from error
    relation = connection.table(name) if isinstance(rows, pa.Table) else connection.view(name)
    return dict(zip(relation.columns, map(str, relation.types), strict=True))


def _require(labels: dict[str, str], features: dict[str, str], view: FeatureView, label_time: str) -> None:
    for side, types, needed in (
        ("labels", labels, [view.key, label_time]),
        ("features", features, [view.key, EVENT_TIME, CREATED_TIME, *(f.name for f in view.features)]),
    ):
        for name in needed:
            if name not in types:
                raise DataError(f"the {side} have no such column", field=name, value=list(types))
    for side, types, name in (("labels", labels, label_time), ("features", features, EVENT_TIME)):
        if types[name] != "TIMESTAMP WITH TIME ZONE":
            raise DataError(f"the {side}' time is a timestamp with time zone", field=name, value=types[name])
    if taken := [field.name for field in view.features if field.name in labels]:
        raise DataError("the labels already have columns of these names", field=view.name, value=taken)
