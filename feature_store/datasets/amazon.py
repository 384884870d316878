"""Amazon product reviews 2014, 5-core, one sequence a user, as released with S3-Rec (Zhou et al., CIKM
2020)."""

from __future__ import annotations

import gzip
import html
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.config import DataConfig
from feature_store.datasets import files
from feature_store.datasets.dataset import Dataset, Source
from feature_store.errors import DataError
from feature_store.row_checks import RawBatch
from feature_store.schema import Field, Schema

# Where a log tells only the time between events (or nothing), a user's first event is put here.
EPOCH_SECONDS = 1_262_304_000  # 2010-01-01T00:00:00Z


def amazon(config: DataConfig) -> Dataset:
    """A folder with ``<name>.txt[.gz]`` (a user a line: user id, then item ids, oldest first),
    ``items.parquet`` (item_id, asin, title, categories and, where it is known, brand_attr_id) and, for times,
    ``interactions.parquet`` (user_id, item_id, delta_seconds, timestamp; in the text's order).

    The text decides the order of a user's events: times have day resolution, and ties are broken in file
    order. A user whose timestamps are missing gets ``EPOCH_SECONDS`` plus the cumulated ``delta_seconds``,
    and just ``EPOCH_SECONDS`` where there is no ``interactions.parquet`` either.
    """
    folder = Path(config.path)
    texts = sorted([*folder.glob("*.txt"), *folder.glob("*.txt.gz")])
    if len(texts) != 1:
        raise DataError(
            "the folder holds exactly one text file of sequences",
            file=folder,
            value=[path.name for path in texts],
        )
    items = folder / "items.parquet"
    needed = ("item_id", "asin", "title", "categories")
    files.require_columns(items, needed, files.header(items).names)
    if (times := folder / "interactions.parquet").exists():
        needed = ("user_id", "item_id", "delta_seconds", "timestamp")
        files.require_columns(times, needed, files.header(times).names)
    return Dataset(
        Schema(item_attributes=(Field("asin"), Field("brand"))),
        (
            Source("users", str(texts[0]), 0, _users),
            Source("items", str(items), 0, _items),
            Source("events", str(texts[0]), 0, _events),
        ),
    )


def _sequences(path: Path) -> tuple[list[bytes], np.ndarray, list[bytes]]:
    """User ids (U), lengths (U,) of their sequences, and all item ids (N)."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            lines = [line.split() for line in file]
    except (OSError, EOFError) as error:
        raise DataError(f"cannot be read: {error}", file=path) from error
    lines = [line for line in lines if line]
    if not lines:
        raise DataError("the file has no rows", file=path)
    lengths = np.array([len(line) - 1 for line in lines])
    return [line[0] for line in lines], lengths, [item for line in lines for item in line[1:]]


def _users(source: Source) -> Iterator[RawBatch]:
    users, _, _ = _sequences(Path(source.path))
    batch = pa.record_batch({"user_id": pa.array(users, pa.string())})
    yield RawBatch("users", batch, source.path, 0)


def _items(source: Source) -> Iterator[RawBatch]:
    """Titles with their HTML entities resolved; categories are the names along all paths, each once; a brand is
    known by its number alone."""
    table = pq.read_table(source.path)
    titles = [title and html.unescape(title) for title in table["title"].to_pylist()]
    names = [
        list(dict.fromkeys(html.unescape(name) for path in paths or () for name in path))
        for paths in table["categories"].to_pylist()
    ]
    brands = pa.nulls(len(table), pa.string())
    if "brand_attr_id" in table.column_names:
        brands = table["brand_attr_id"].combine_chunks().cast(pa.string())
    batch = pa.record_batch(
        {
            "item_id": table["item_id"].combine_chunks(),
            "title": pa.array(titles, pa.string()),
            "categories": pa.array(names, pa.list_(pa.string())),
            "asin": table["asin"].combine_chunks(),
            "brand": brands,
        }
    )
    yield RawBatch("items", batch, source.path, 0)


def _events(source: Source) -> Iterator[RawBatch]:
    path = Path(source.path)
    users, lengths, items = _sequences(path)
    user_ids = pa.array(users, pa.string()).take(pa.array(np.repeat(np.arange(len(users)), lengths)))
    item_ids = pa.array(items, pa.string())
    times_path = path.with_name("interactions.parquet")
    if times_path.exists():
        seconds = _times(times_path, user_ids, item_ids, lengths)
    else:
        seconds = np.full(len(items), EPOCH_SECONDS)
    batch = pa.record_batch(
        {
            "user_id": user_ids,
            "item_id": item_ids,
            "event_time": pa.array(seconds).cast(pa.timestamp("s", tz="UTC")),
            "event_type": pa.repeat("review", len(items)),
        }
    )
    for first in range(0, batch.num_rows, files.BATCH_ROWS):
        yield RawBatch("events", batch.slice(first, files.BATCH_ROWS), source.path, first)


def _times(path: Path, user_ids: pa.Array, item_ids: pa.Array, lengths: np.ndarray) -> np.ndarray:
    """(N,) seconds since 1970, never falling within a user's sequence."""
    table = pq.read_table(path, columns=["user_id", "item_id", "delta_seconds", "timestamp"])
    for name, expected in (("user_id", user_ids), ("item_id", item_ids)):
        if table[name].cast(pa.string()).combine_chunks() != expected:
            raise DataError("the rows are those of the text file, in its order", file=path, field=name)
    users = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    deltas = table["delta_seconds"].to_numpy()
    cumulated = np.cumsum(deltas)
    from_epoch = EPOCH_SECONDS + cumulated - cumulated[starts]
    missing = table["timestamp"].is_null().to_numpy()
    unknown = np.bincount(users, weights=missing) > 0  # users with any timestamp missing
    seconds = np.where(unknown[users], from_epoch, table["timestamp"].fill_null(0).to_numpy())
    falls = (seconds[1:] < seconds[:-1]) & (users[1:] == users[:-1])
    if falls.any():
        raise DataError(
            "a user's times never fall",
            file=path,
            field="timestamp",
            value=f"row {int(np.flatnonzero(falls)[0]) + 1}",
        )
    return seconds
