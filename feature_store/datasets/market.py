"""The log of a simulated market."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from feature_store import folders
from feature_store.config import DataConfig
from feature_store.datasets import files
from feature_store.datasets.dataset import Dataset, Source
from feature_store.market.simulate import KIND
from feature_store.schema import OPTIONAL_TABLES, Field, Schema

_SCHEMA = Schema(
    user_attributes=(
        Field("gender"),
        Field("household"),
        Field("occupation"),
        Field("city"),
        Field("age", "int64"),
        Field("income", "float32"),
    ),
    item_attributes=(Field("price", "float32"), Field("brand")),
    impression_context=(Field("position", "int64"), Field("entry")),
    optional=OPTIONAL_TABLES,
)


def market(config: DataConfig) -> Dataset:
    """What `feature_store.market.simulate` wrote to ``path``, less its truth.

    Raises:
        DataError: the folder is not whole, or not that of a market.
    """
    folder = Path(config.path)
    what = "a simulated market; `antiphon simulate market` makes one"
    manifest = folders.read_manifest_of(KIND, folder, what, hashes=False)
    sources = []
    for table in _SCHEMA.tables():
        path = folder / f"{table.name}.parquet"
        columns = {name: name for name in files.header(path).names}
        sources.append(Source(table.name, str(path), 0, partial(files.read_parquet, columns=columns)))
    return Dataset(_SCHEMA, tuple(sources), manifest["test_start"])
