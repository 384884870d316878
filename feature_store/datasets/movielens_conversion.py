"""MovieLens-1M as conversion: who is shown a film has rated it, and is converted by it where the rating is 5.

The paper's market has many users with little activity, MovieLens none. So `LOW_SHARE` of the users, by a hash of their
id, are made such users: of what they rated before the test they keep the newest `FEWEST` to `MOST` (by another hash),
and each attribute of theirs is hidden with chance `HIDDEN` (by a third). What they rate in the test stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.config import DataConfig
from feature_store.datasets import files
from feature_store.datasets.dataset import Dataset, Source
from feature_store.datasets.movielens import movielens_1m
from feature_store.hashing import uniform
from feature_store.row_checks import RawBatch

TEST_QUANTILE = 13 / 14
"""The test begins at this quantile of the ratings' times: one day of fourteen, as the paper's."""
CONVERTED = 5.0
LOW_SHARE = 0.55
FEWEST, MOST = 5, 25
HIDDEN = 0.35
_OCCUPATIONS = (
    "other", "educator", "artist", "clerk", "student", "customer service", "health care", "executive", "farmer",
    "homemaker", "school pupil", "lawyer", "programmer", "retired", "sales", "scientist", "self-employed", "engineer",
    "craftsman", "unemployed", "writer",
)  # fmt: skip
_SALT = "movielens-1m-conversion"


def movielens_1m_conversion(config: DataConfig) -> Dataset:
    """`movielens_1m` with impressions, one a rating that is kept. Events are a ``click`` for each, and a ``purchase``
    for those of 5. Occupations have their names.

    Raises:
        DataError: as `movielens_1m`.
    """
    plain = movielens_1m(config)
    users, items, events = (source for table in ("users", "items", "events") for source in plain.of(table))
    sources = (
        replace(users, rows=_hidden_users),
        items,
        replace(events, rows=_events),
        Source("impressions", events.path, 0, _impressions),
    )
    times = pq.read_table(events.path, columns=["timestamp"])["timestamp"].to_numpy()
    return Dataset(replace(plain.schema, optional=("impressions",)), sources, _test_start(times) * 1_000_000)


def _test_start(times: np.ndarray) -> int:
    """In the unit of the times."""
    return math.ceil(np.quantile(times, TEST_QUANTILE))


def low_activity(user: str) -> bool:
    """Whether a user is one of those who are made to have little activity."""
    return uniform(f"{_SALT}-low", user) < LOW_SHARE


def _hidden_users(source: Source) -> Iterator[RawBatch]:
    for raw in movielens_1m(DataConfig("movielens_1m", str(Path(source.path).parent))).of("users")[0].read():
        columns = {"user_id": raw.batch["user_id"]}
        ids = raw.batch["user_id"].to_pylist()
        low = [low_activity(user) for user in ids]
        for name in raw.batch.schema.names[1:]:
            hide = [few and uniform(f"{_SALT}-{name}", user) < HIDDEN for few, user in zip(low, ids, strict=True)]
            values = raw.batch[name].to_pylist()
            if name == "occupation":
                values = [_OCCUPATIONS[int(code)] for code in values]
            columns[name] = pa.array([None if h else v for h, v in zip(hide, values, strict=True)], pa.string())
        yield raw._replace(batch=pa.record_batch(columns))


def _kept(source: Source) -> pd.DataFrame:
    """The ratings that are kept, as `movielens_1m` orders them: user_id, item_id, event_time (seconds), value."""
    plain = movielens_1m(DataConfig("movielens_1m", str(Path(source.path).parent))).of("events")[0]
    rows = pa.Table.from_batches([raw.batch for raw in plain.read()]).drop_columns(["event_type"]).to_pandas()
    training = rows["event_time"] < _test_start(rows["event_time"].to_numpy())
    newest = rows[training].groupby("user_id").cumcount(ascending=False)  # 0 is the newest
    users = rows["user_id"].unique()
    limit = {user: _limit(str(user)) for user in users}
    kept = np.ones(len(rows), bool)
    kept[np.flatnonzero(training)] = newest.to_numpy() < rows.loc[training, "user_id"].map(limit).to_numpy()
    return rows[kept]


def _limit(user: str) -> int:
    """How many ratings before the test a user keeps."""
    if not low_activity(user):
        return np.iinfo(np.int64).max
    return FEWEST + int(uniform(f"{_SALT}-kept", user) * (MOST - FEWEST + 1))


def _impressions(source: Source) -> Iterator[RawBatch]:
    rows = _kept(source)
    ids = rows["user_id"].astype(str) + "-" + rows["item_id"].astype(str)
    table = pa.table(
        {
            "impression_id": pa.array(ids),
            "user_id": pa.array(rows["user_id"]),
            "item_id": pa.array(rows["item_id"]),
            "event_time": pa.array(rows["event_time"]),
            "clicked": pa.array(np.ones(len(rows), np.int8)),
            "converted": pa.array((rows["value"] == CONVERTED).astype(np.int8)),
        }
    )
    yield from files.in_batches(source, table)


def _events(source: Source) -> Iterator[RawBatch]:
    rows = _kept(source)
    rows = rows.loc[np.repeat(rows.index, 1 + (rows["value"] == CONVERTED))]
    bought = rows.index.duplicated()
    table = pa.table({name: pa.array(rows[name]) for name in ("user_id", "item_id", "event_time", "value")})
    table = table.append_column("event_type", pa.array(np.where(bought, "purchase", "click")))
    yield from files.in_batches(source, table)
