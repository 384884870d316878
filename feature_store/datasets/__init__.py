"""Readers of logs: public data sets, and one's own tables."""

from __future__ import annotations

from collections.abc import Callable

from feature_store.config import DataConfig
from feature_store.datasets.amazon import amazon
from feature_store.datasets.dataset import Dataset, Source
from feature_store.datasets.logs import tables
from feature_store.datasets.market import market
from feature_store.datasets.movielens import movielens_1m, movielens_100k
from feature_store.datasets.movielens_conversion import movielens_1m_conversion
from feature_store.datasets.tmall import tmall

READERS: dict[str, Callable[[DataConfig], Dataset]] = {
    "movielens_100k": movielens_100k,
    "movielens_1m": movielens_1m,
    "movielens_1m_conversion": movielens_1m_conversion,
    "tmall": tmall,
    "market": market,
    "amazon": amazon,
    "tables": tables,
}

__all__ = ["READERS", "Dataset", "Source", "open_dataset"]


def open_dataset(config: DataConfig) -> Dataset:
    """Finds a data set's files and looks at their headers; rows are read later, source by source.

    Raises:
        DataError: a file is missing, cannot be read, has no rows, or lacks a required column.
    """
    return READERS[config.reader](config)
