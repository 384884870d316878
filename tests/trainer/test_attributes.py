import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.errors import DataError
from feature_store.folders import describe, write_manifest
from trainer.attributes import read_attributes
from trainer.input import Examples


@pytest.fixture
def examples(tmp_path):
    """Three items, of which "b" has nothing."""
    (tmp_path / "item.txt").write_text("".join(json.dumps(item) + "\n" for item in "abc"))
    items = {"item_id": ["a", "b", "c"], "categories": [["x", "y"], [], ["y", "y"]], "brand": ["x", "", None]}
    items["size"] = [1, 2, 3]
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    vocabulary = {"item": describe(tmp_path / "item.txt", tmp_path)}
    described = {"items": describe(tmp_path / "items.parquet", tmp_path), "vocabulary": vocabulary}
    write_manifest(tmp_path, {"kind": "examples", **described})
    return Examples(tmp_path)


def test_each_distinct_value_of_a_column_is_an_attribute(examples):
    # In order: (brand, x) is 0, (categories, x) is 1, (categories, y) is 2. Row 0 is padding.
    found = read_attributes(examples, ("categories", "brand"))
    assert found.count == 3
    assert found.ids.tolist() == [[-1, -1, -1], [1, 2, 0], [-1, -1, -1], [2, -1, -1]]


@pytest.mark.parametrize("column", ["size", "price", "item_id"])
def test_a_column_that_is_not_there_or_no_text_is_refused(examples, column):
    with pytest.raises(DataError, match=r"of \['categories', 'brand'\]"):
        read_attributes(examples, (column,))


def test_columns_without_a_value_are_refused(examples):
    pq.write_table(pa.table({"item_id": ["a"], "brand": [""]}), examples.items)
    with pytest.raises(DataError, match="columns without a value"):
        read_attributes(examples, ("brand",))


def test_a_run_s_examples_hold_their_items(shop):
    examples = Examples(shop / "examples")
    found = read_attributes(examples, ("categories",))
    assert found.count == 5 and found.ids.shape == (41, 1)
    ids = examples.vocabulary.ids
    assert {tuple(sorted({found.ids[i + 1, 0] for i, item in enumerate(ids) if item[:2] == shelf}))
            for shelf in ("GA", "KI", "CY", "RE", "MU")} == {(i,) for i in range(5)}  # fmt: skip


def test_examples_of_before_they_held_items_are_named(examples):
    del examples.manifest["items"]
    with pytest.raises(DataError, match="hold no items; write them again"):
        read_attributes(examples, ("brand",))
