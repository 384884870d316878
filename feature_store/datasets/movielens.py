"""MovieLens-100K and MovieLens-1M (Harper and Konstan 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.config import DataConfig
from feature_store.datasets import files
from feature_store.datasets.dataset import Dataset, Source
from feature_store.errors import DataError
from feature_store.row_checks import RawBatch
from feature_store.schema import Field, Schema

_SCHEMA = Schema(
    user_attributes=(Field("age", "int64"), Field("gender"), Field("occupation"), Field("zip_code")),
    item_attributes=(Field("release_year", "int64"),),
)
_USERS_100K = {
    "user_id": "user_id",
    "age": "age",
    "gender": "gender",
    "occupation": "occupation",
    "zip_code": "zip_code",
}
_ITEMS_100K = {
    "item_id": "item_id",
    "title": "movie_title",
    "categories": "class",
    "release_year": "release_year",
}
_EVENTS_100K = {"user_id": "user_id", "item_id": "item_id", "event_time": "timestamp", "value": "rating"}
_USERS_1M = {**_USERS_100K, "zip_code": "zip"}
_ITEMS_1M = {
    "item_id": "item_idx",
    "title": "title",
    "release_year": "year",
    "categories": "genres_ml1m",
    "latest": "genres_ml_latest_small",
}
_EVENTS_1M = {
    "user_id": "user_id",
    "item_id": "item_idx",
    "event_time": "timestamp",
    "value": "rating",
    "is_last": "is_last",
}


def movielens_100k(config: DataConfig) -> Dataset:
    """943 users, 1,682 items, 100,000 ratings in RecBole's atomic files ``ml-100k.{user,item,inter}[.gz]``.

    ``path`` is their folder; left empty, they are taken from the installed ``recbole`` wheel without
    importing it. The file's "unkonwn" stands for a missing title, and what is no year ("V", once) for a
    missing year.
    """
    folder = Path(config.path) if config.path else _wheel_folder()
    sources = []
    parts = (
        ("users", "user", _USERS_100K),
        ("items", "item", _ITEMS_100K),
        ("events", "inter", _EVENTS_100K),
    )
    for table, extension, columns in parts:
        path = _plain_or_gz(folder / f"ml-100k.{extension}")
        typed = {name.split(":")[0]: name for name in files.header(path).names}  # "user_id:token"
        files.require_columns(path, columns.values(), typed)
        found = {ours: typed[theirs] for ours, theirs in columns.items()}
        sources.append(Source(table, str(path), 0, partial(_atomic_rows, columns=found)))
    return Dataset(_SCHEMA, tuple(sources))


def _wheel_folder() -> Path:
    try:
        distribution = metadata.distribution("recbole")
    except metadata.PackageNotFoundError as error:
        raise DataError("movielens_100k without a path needs the recbole wheel", field="path") from error
    return Path(str(distribution.locate_file("recbole/dataset_example/ml-100k")))


def _plain_or_gz(path: Path) -> Path:
    return path if path.is_file() else files.require_file(path.with_name(path.name + ".gz"))


def _atomic_rows(source: Source, columns: dict[str, str]) -> Iterator[RawBatch]:
    for raw in files.read_text(source, columns, quoted=False, nulls=("unkonwn",)):
        batch = raw.batch
        if source.table == "items":
            batch = _replace(batch, "categories", pc.split_pattern(batch["categories"], " "))
            is_year = pc.match_substring_regex(batch["release_year"], "^[0-9]{4}$")
            years = pc.if_else(is_year, batch["release_year"], pa.scalar(None, pa.string()))
            batch = _replace(batch, "release_year", years)
        if source.table == "events":
            batch = batch.append_column("event_type", pa.repeat("rating", batch.num_rows))
        yield raw._replace(batch=batch)


def movielens_1m(config: DataConfig) -> Dataset:
    """6,040 users, 3,706 items, 1,000,209 ratings: ``ratings.parquet``, ``users.tsv.gz``, ``movies.tsv.gz``.

    Item ids are ``item_idx``. Ratings of one second keep the file's order, but the row marked ``is_last``
    comes last: it is the one that published leave-one-out splits hold out.
    """
    folder = Path(config.path)
    readers = {
        "users": ("users.tsv.gz", _USERS_1M, partial(files.read_text, columns=_USERS_1M, quoted=False)),
        "items": ("movies.tsv.gz", _ITEMS_1M, _movies),
        "events": ("ratings.parquet", _EVENTS_1M, _ratings),
    }
    sources = []
    for table, (name, columns, rows) in readers.items():
        path = folder / name
        files.require_columns(path, columns.values(), files.header(path).names)
        sources.append(Source(table, str(path), 0, rows))
    return Dataset(_SCHEMA, tuple(sources))


def _movies(source: Source) -> Iterator[RawBatch]:
    for raw in files.read_text(source, _ITEMS_1M, quoted=False):
        batch = raw.batch
        genres = pc.if_else(pc.equal(batch["latest"], ""), batch["categories"], batch["latest"])
        yield raw._replace(batch=_replace(batch.drop_columns(["latest"]), "categories", genres))


def _ratings(source: Source) -> Iterator[RawBatch]:
    """The rows in the file's order, each user's ``is_last`` row moved behind the user's others."""
    batches = [raw.batch for raw in files.read_parquet(source, _EVENTS_1M)]
    rows = pa.Table.from_batches(batches)
    order = np.lexsort((rows["is_last"].to_numpy(), rows["user_id"].to_numpy()))
    rows = rows.drop_columns(["is_last"]).take(pa.array(order))
    rows = rows.append_column("event_type", pa.repeat("rating", rows.num_rows))
    yield from files.in_batches(source, rows)


def _replace(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), name, column)
