"""The one definition of tables and features.

The tables' columns, the offline and online feature views and the training examples are all described here;
the Arrow schemas, the Feast repository and the ``tf.train.Example`` parsing derive from it. What differs
between data sets (the attributes of users and items) is declared by the data set's reader and kept in
``tables/MANIFEST.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from feature_store.errors import DataError

EVENT_TIME = "event_time"
CREATED_TIME = "created_time"

_ARROW_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "int8": pa.int8(),
    "float32": pa.float32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_DEFAULTS: dict[str, Any] = {"string": "", "int64": 0, "int8": 0, "float32": 0.0, "timestamp": None}


@dataclass(frozen=True)
class Field:
    """One column of a table, one feature of a view, or one feature of a training example.

    ``shape`` is ``()`` for a scalar, ``(n,)`` for exactly n values, ``(None,)`` for a list of any length.
    ``default`` stands for a missing value; left at None, it is the empty value of the type ("", 0, 0.0, []).
    ``vocabulary`` names the vocabulary that turns the ids into indices; ``hash_buckets`` > 0 hashes them
    instead. ``max_length`` bounds a list of any length (0: unbounded).
    """

    name: str
    dtype: str = "string"
    shape: tuple[int | None, ...] = ()
    default: Any = None
    required: bool = False
    vocabulary: str = ""
    hash_buckets: int = 0
    max_length: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in _ARROW_TYPES:
            raise DataError(f"dtype is one of {sorted(_ARROW_TYPES)}", field=self.name, value=self.dtype)
        if len(self.shape) > 1:
            raise DataError("a field is a scalar or one list", field=self.name, value=self.shape)
        if self.vocabulary and self.hash_buckets:
            raise DataError("a field has a vocabulary or hash buckets, not both", field=self.name)

    @property
    def is_list(self) -> bool:
        return self.shape != ()

    @property
    def arrow_type(self) -> pa.DataType:
        value = _ARROW_TYPES[self.dtype]
        return pa.list_(pa.field("element", value)) if self.is_list else value

    def empty(self) -> Any:
        """The value that stands for a missing one."""
        if self.default is not None:
            return list(self.default) if self.is_list else self.default
        if self.is_list:
            return [_DEFAULTS[self.dtype]] * (self.shape[0] or 0)
        return _DEFAULTS[self.dtype]


def arrow_schema(fields: Iterable[Field]) -> pa.Schema:
    """A column a field, in order."""
    return pa.schema([pa.field(field.name, field.arrow_type) for field in fields])


@dataclass(frozen=True)
class Table:
    """A table of the ``tables/`` folder. ``key`` is the column that identifies a row; "" where none does."""

    name: str
    key: str
    fields: tuple[Field, ...]

    def arrow(self) -> pa.Schema:
        return arrow_schema(self.fields)

    def field(self, name: str) -> Field:
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise DataError(f"table {self.name!r} has the fields {[f.name for f in self.fields]}", value=name)


@dataclass(frozen=True)
class FeatureView:
    """Features of one entity, each row true from its ``event_time`` on (known since ``created_time``)."""

    name: str
    key: str
    features: tuple[Field, ...]

    def arrow(self) -> pa.Schema:
        """Schema of ``features/<view>.parquet``."""
        times = [Field(EVENT_TIME, "timestamp"), Field(CREATED_TIME, "timestamp")]
        return arrow_schema([Field(self.key), *times, *self.features])

    def defaults(self) -> dict[str, Any]:
        """What an unknown key reads as."""
        return {f.name: f.empty() for f in self.features}


@dataclass(frozen=True)
class Schema:
    """A data set's columns. ``text_width`` is the width of the item-text vectors; 0 where unknown.

    ``optional`` names those of `OPTIONAL_TABLES` that the data set has; ``impression_context`` are the columns that
    impressions have besides the fixed ones.
    """

    user_attributes: tuple[Field, ...] = ()
    item_attributes: tuple[Field, ...] = ()
    history_length: int = 50
    text_width: int = 0
    impression_context: tuple[Field, ...] = ()
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken = {f.name for table in ("users", "items", "impressions") for f in self._fixed(table)} | _RESERVED
        for field in (*self.user_attributes, *self.item_attributes, *self.impression_context):
            if field.name in taken:
                raise DataError("an attribute may not take the name of a fixed column", field=field.name)
            if field.is_list or field.dtype not in _ATTRIBUTE_TYPES:
                raise DataError(
                    "an attribute is one string, int64 or float32", field=field.name, value=field.dtype
                )
        of_users_and_items = [f.name for f in (*self.user_attributes, *self.item_attributes)]
        for attributes in (self.user_attributes, self.item_attributes, self.impression_context):
            names = [f.name for f in attributes]
            if len(set(names)) < len(names):
                raise DataError("attributes have distinct names", value=names)
        for field in self.impression_context:  # a row of training has all three side by side
            if field.name in of_users_and_items:
                raise DataError("a context column may not take the name of an attribute", field=field.name)
        for name in self.optional:
            if name not in OPTIONAL_TABLES:
                raise DataError(f"an optional table is one of {list(OPTIONAL_TABLES)}", value=name)

    @staticmethod
    def _fixed(table: str) -> tuple[Field, ...]:
        return {
            "users": (Field("user_id", required=True),),
            "items": (
                Field("item_id", required=True),
                Field("title"),
                Field("categories", shape=(None,)),
            ),
            "events": (
                Field("user_id", required=True),
                Field("item_id", required=True, vocabulary="item"),
                Field(EVENT_TIME, "timestamp", required=True),
                Field("event_type", default="interaction"),
                Field("value", "float32", default=1.0),
                Field(CREATED_TIME, "timestamp"),
            ),
            "impressions": (
                Field("impression_id", required=True),
                Field("user_id", required=True),
                Field("item_id", required=True, vocabulary="item"),
                Field(EVENT_TIME, "timestamp", required=True),
                Field("clicked", "int8", required=True),
                Field("converted", "int8"),
            ),
            "searches": (
                Field("user_id", required=True),
                Field("query", required=True),
                Field(EVENT_TIME, "timestamp", required=True),
            ),
        }[table]

    def table(self, name: str) -> Table:
        extra = {
            "users": self.user_attributes,
            "items": self.item_attributes,
            "impressions": self.impression_context,
        }
        if name not in ALL_TABLES:
            raise DataError(f"a table is one of {list(ALL_TABLES)}", value=name)
        key = {"users": "user_id", "items": "item_id"}.get(name, "")
        return Table(name, key, self._fixed(name) + extra.get(name, ()))

    def tables(self) -> tuple[Table, ...]:
        """The tables that the data set has."""
        return tuple(self.table(name) for name in (*TABLES, *self.optional))

    def view(self, name: str) -> FeatureView:
        for view in self.views():
            if view.name == name:
                return view
        raise DataError(f"a feature view is one of {[v.name for v in self.views()]}", value=name)

    def views(self) -> tuple[FeatureView, ...]:
        """The feature views; ``item_text`` is among them where its width is known."""
        views = [
            FeatureView("user_profile", "user_id", self.user_attributes),
            FeatureView("user_history", "user_id", (self._history, Field("event_count", "int64"))),
            FeatureView("item_profile", "item_id", self.table("items").fields[1:]),
        ]
        if self.text_width:
            vector = Field("vector", "float32", shape=(self.text_width,))
            views.append(FeatureView("item_text", "item_id", (vector,)))
        return tuple(views)

    @property
    def _history(self) -> Field:
        return Field("history", shape=(None,), vocabulary="item", max_length=self.history_length)

    def example(self, split: str = "train", served: bool = False) -> tuple[Field, ...]:
        """The features of one ``tf.train.Example`` of a split (train, valid or test).

        Args:
            served: made with a served log: ``row_id`` is the log's row, "" where the features are of the as-of join.
        """
        return (
            Field("user_id", required=True),
            self._history,
            Field("target", required=True, vocabulary="item"),
            Field("label_time", "int64", required=True),
            Field("event_count", "int64"),
            *self.user_attributes,
            *(() if split == "train" else (Field("seen", shape=(None,), vocabulary="item"),)),
            *((Field(ROW_ID),) if served else ()),
        )

    def to_json(self) -> dict[str, Any]:
        """What ``tables/MANIFEST.json`` keeps of the schema."""
        kept = {
            "user_attributes": [asdict(f) for f in self.user_attributes],
            "item_attributes": [asdict(f) for f in self.item_attributes],
        }
        if self.optional:
            kept["impression_context"] = [asdict(f) for f in self.impression_context]
            kept["optional"] = list(self.optional)
        return kept

    @classmethod
    def from_json(cls, data: Mapping[str, Any], history_length: int = 50, text_width: int = 0) -> Schema:
        """The schema of the tables whose manifest holds ``data``."""
        return cls(
            fields_from_json(data["user_attributes"]),
            fields_from_json(data["item_attributes"]),
            history_length,
            text_width,
            fields_from_json(data.get("impression_context", [])),
            tuple(data.get("optional", ())),
        )


TABLES = ("users", "items", "events")
OPTIONAL_TABLES = ("impressions", "searches")
ALL_TABLES = TABLES + OPTIONAL_TABLES
_ATTRIBUTE_TYPES = ("string", "int64", "float32")
ROW_ID = "row_id"
_RESERVED = {
    ROW_ID,
    EVENT_TIME,
    CREATED_TIME,
    "history",
    "event_count",
    "target",
    "label_time",
    "vector",
    "log_order",
}


def fields_from_json(data: list[dict[str, Any]]) -> tuple[Field, ...]:
    return tuple(Field(**{**entry, "shape": tuple(entry["shape"])}) for entry in data)
