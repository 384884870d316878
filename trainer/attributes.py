"""What is known of the items in categories: which attributes each has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.errors import DataError
from trainer.input import Examples


class Attributes(NamedTuple):
    """The attributes of every item index."""

    ids: np.ndarray  # (N, A) int32: each item's attributes, in [0, count); -1 pads
    count: int  # different ones
    names: tuple[tuple[str, str], ...] = ()  # of each: column, value


def read_attributes(examples: Examples, columns: Sequence[str]) -> Attributes:
    """Each distinct value of some columns of the examples' items is an attribute: a category, a brand.

    Args:
      columns: text, or lists of text; an empty value is no attribute.

    Raises:
      DataError: the examples hold no such column, one of another type, or no value.
    """
    path = examples.items
    schema = pq.read_schema(path)
    for name in columns:
        there = [field.name for field in schema if _is_text(field.type) and field.name != "item_id"]
        if name not in there:
            raise DataError(f"model.attributes are columns of text, of {there}", file=path, value=name)
    table = pq.read_table(path, columns=["item_id", *columns])
    held = [[] for _ in table["item_id"]]
    for name in columns:
        for own, value in zip(held, table[name].to_pylist(), strict=True):
            values = value if isinstance(value, list) else [value]
            own.extend(dict.fromkeys((name, one) for one in values if one))
    numbers = {attribute: i for i, attribute in enumerate(sorted({a for own in held for a in own}))}
    if not numbers:
        raise DataError("model.attributes name columns without a value", file=path, value=list(columns))
    ids = np.full((examples.vocabulary.size, max(map(len, held))), -1, np.int32)
    places = {item: i + 1 for i, item in enumerate(examples.vocabulary.ids)}
    for item, own in zip(table["item_id"].to_pylist(), held, strict=True):
        ids[places[item], : len(own)] = [numbers[attribute] for attribute in own]
    return Attributes(ids, len(numbers), tuple(numbers))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind.value_type if pa.types.is_list(kind) else kind)
