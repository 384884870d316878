"""Rows of a served log as rows of features: one for each user that a request asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from feature_store.schema import Field, Schema
from feature_store.served_log import ServedRow

SERVED = "served."  # before a feature's name: its value as it was served; null where the request had none


def user_features(schema: Schema) -> tuple[Field, ...]:
    """The features that are known by user: what can be served, and computed again."""
    return tuple(field for view in schema.views() if view.key == "user_id" for field in view.features)


def arrow_schema(schema: Schema) -> pa.Schema:
    """The columns of `served_examples`."""
    features = [pa.field(f"{SERVED}{field.name}", field.arrow_type) for field in user_features(schema)]
    return pa.schema(
        [
            ("row_id", pa.string()),
            ("user_id", pa.string()),
            ("label_time", pa.timestamp("us", tz="UTC")),
            *features,
        ]
    )


def served_examples(rows: Iterable[ServedRow], schema: Schema, batch_rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """The users of the rows with their features as served: model inputs and `RequestContext.features` of that name.

    "" in a list is padding. A request without users, or with another number of them than rows in its batch, has none.
    """
    kept: list[dict[str, Any]] = []
    for row in rows:
        kept.extend(_of_row(row, user_features(schema)))
        if len(kept) >= batch_rows:
            yield pa.RecordBatch.from_pylist(kept, arrow_schema(schema))
            kept = []
    if kept:
        yield pa.RecordBatch.from_pylist(kept, arrow_schema(schema))


def _of_row(row: ServedRow, fields: tuple[Field, ...]) -> Iterator[dict[str, Any]]:
    users = row.context.user_ids
    said = {**row.context.features, **{name: array.tolist() for name, array in row.inputs.items()}}
    served = {field: said[field.name] for field in fields if field.name in said}
    if any(not isinstance(values, list) or len(values) != len(users) for values in served.values()):
        return
    for number, user in enumerate(users):
        features = {f"{SERVED}{field.name}": _value(field, values[number]) for field, values in served.items()}
        yield {"row_id": row.row_id, "user_id": user, "label_time": row.time, **features}


def _value(field: Field, value: Any) -> Any:
    """A value of the field's type; None where it is none."""
    try:
        if field.is_list:
            values = [_scalar(field.dtype, part) for part in value]
            return [part for part in values if part != ""]
        return _scalar(field.dtype, value[0] if isinstance(value, list) else value)
    except (ValueError, TypeError, IndexError):
        return None


def _scalar(dtype: str, value: Any) -> Any:
    if dtype == "string":
        return value if isinstance(value, str) else str(value)
    return int(value) if dtype == "int64" else float(value)
