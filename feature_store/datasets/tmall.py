"""Tmall's repeat buyers (IJCAI-15): who bought at a merchant's on "Double 11" 2014, and whether they came back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.config import DataConfig
from feature_store.datasets import files
from feature_store.datasets.dataset import Dataset, Source
from feature_store.hashing import uniform
from feature_store.row_checks import RawBatch
from feature_store.schema import Field, Schema

DAYS = 14
"""Parts that the pairs are dealt into, as the paper has days: the last is the test."""
_START = 1_415_664_000  # 2014-11-11, UTC
_COUNTS = {
    "logs": "total_logs",
    "distinct_items": "unique_item_ids",
    "distinct_categories": "categories",
    "browse_days": "browse_days",
    "clicks": "one_clicks",
    "carts": "shopping_carts",
    "purchases": "purchase_times",
    "favourites": "favourite_times",
}
_AGES = ("under 18", "18 to 24", "25 to 29", "30 to 34", "35 to 39", "40 to 49", "50 and over", "50 and over")
_GENDERS = ("female", "male")
_SCHEMA = Schema(
    user_attributes=(Field("age_range"), Field("gender")),
    impression_context=tuple(Field(name, "int64") for name in _COUNTS),
    optional=("impressions",),
)


def tmall(config: DataConfig) -> Dataset:
    """``labels_all.parquet``: 260,864 pairs of user and merchant; ``features_52k.parquet``: of 52,173 of them what the
    user did there before, and the user's age and gender.

    A pair is a clicked impression of the merchant, converted where the user came back within six months; its context is
    what the user did there, null where it is not known. The log has no times: a pair's day, from 2014-11-11 on, is a
    hash of it, so that a split by time is a random one. Merchants have neither names nor categories.
    """
    folder = Path(config.path)
    labels, features = folder / "labels_all.parquet", folder / "features_52k.parquet"
    files.require_columns(labels, ("user_id", "merchant_id", "label"), files.header(labels).names)
    needed = ("user_id", "merchant_id", "age_range", "gender", *_COUNTS.values())
    files.require_columns(features, needed, files.header(features).names)
    sources = (
        Source("users", str(features), 0, _users),
        Source("events", str(labels), 0, _events),
        Source("impressions", str(labels), 0, _impressions),
    )
    return Dataset(_SCHEMA, sources, (_START + (DAYS - 1) * 86_400) * 1_000_000)


def _users(source: Source) -> Iterator[RawBatch]:
    known = pq.read_table(source.path, columns=["user_id", "age_range", "gender"]).to_pandas()
    known = known.drop_duplicates("user_id").set_index("user_id")
    labels = Path(source.path).with_name("labels_all.parquet")
    users = pq.read_table(labels, columns=["user_id"])["user_id"].unique().to_numpy()
    found = known.reindex(users)
    table = pa.table(
        {
            "user_id": pa.array(users),
            "age_range": _named(found["age_range"] - 1, _AGES),
            "gender": _named(found["gender"], _GENDERS),
        }
    )
    yield from files.in_batches(source, table)


def _named(codes: pd.Series, names: tuple[str, ...]) -> pa.Array:
    return pa.array([None if pd.isna(code) else names[int(code)] for code in codes], pa.string())


def _pairs(source: Source) -> pd.DataFrame:
    rows = pq.read_table(source.path).to_pandas()
    ids = rows["user_id"].astype(str) + "-" + rows["merchant_id"].astype(str)
    seconds = [int(uniform("tmall", pair) * DAYS * 86_400) for pair in ids]
    return rows.assign(impression_id=ids, event_time=_START + np.array(seconds))


def _impressions(source: Source) -> Iterator[RawBatch]:
    rows = _pairs(source)
    features = pq.read_table(Path(source.path).with_name("features_52k.parquet")).to_pandas()
    rows = rows.merge(features.drop(columns="label"), how="left", on=["user_id", "merchant_id"])
    table = pa.table(
        {
            "impression_id": pa.array(rows["impression_id"]),
            "user_id": pa.array(rows["user_id"]),
            "item_id": pa.array(rows["merchant_id"]),
            "event_time": pa.array(rows["event_time"]),
            "clicked": pa.array(np.ones(len(rows), np.int8)),
            "converted": pa.array(rows["label"]),
            **{ours: pa.array(rows[theirs]) for ours, theirs in _COUNTS.items()},
        }
    )
    yield from files.in_batches(source, table)


def _events(source: Source) -> Iterator[RawBatch]:
    """A click for each pair, and a purchase after it where the user came back."""
    rows = _pairs(source)
    rows = rows.loc[np.repeat(rows.index, 1 + rows["label"])]
    columns = {"user_id": "user_id", "item_id": "merchant_id", "event_time": "event_time"}
    table = pa.table({ours: pa.array(rows[theirs]) for ours, theirs in columns.items()})
    kinds = pa.array(np.where(rows.index.duplicated(), "purchase", "click"))
    yield from files.in_batches(source, table.append_column("event_type", kinds))
