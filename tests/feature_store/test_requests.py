"""Labelled requests on the disk: what is written is what is read, and what breaks a rule is told."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import request_data

from feature_store import requests
from feature_store.errors import DataError
from feature_store.request_schema import RequestFeature, from_json, to_json


def test_every_request_comes_back_with_defaults_for_what_is_missing(tmp_path):
    rows = request_data.rows(40, slate=3)
    pq.write_table(rows, tmp_path / "rows.parquet")
    splits = {"train": tmp_path / "rows.parquet", "valid": rows.slice(0, 7)}
    manifest = requests.write(splits, request_data.items(), request_data.FEATURES, tmp_path / "out", shards=3)
    assert [shard["examples"] for shard in manifest["splits"]["train"]["shards"]] == [13, 13, 14]
    columns = ["user_id", "request_id", "label_time", "candidates", "labels", "age", "purchases", "gaps"]
    back = requests.read_rows(tmp_path / "out", "train", columns).to_pylist()
    for there, row in zip(back, rows.to_pylist(), strict=True):
        assert there == {**{name: row[name] for name in columns}, "age": row["age"] or "",
                         "purchases": row["purchases"][-4:]}  # fmt: skip
    assert len(requests.read_rows(tmp_path / "out", "valid", ["user_id"])) == 7
    assert manifest["slate"] == 3 and requests.read_manifest(tmp_path / "out", hashes=True) == manifest


def test_vocabularies_are_of_training_and_items_and_statistics_of_what_is_there(tmp_path):
    table = pa.table(
        {"user_id": ["a", "b", "c"], "request_id": ["1", "2", "3"], "label_time": [1, 2, 3],
         "candidates": [["x"], ["y"], ["x"]], "labels": [[1.0], [0.0], [0.0]],
         "kind": ["q", None, "p"], "count": [0.0, None, 2.0]}
    )  # fmt: skip
    features = (
        RequestFeature("kind", vocabulary="kind"),
        RequestFeature("count", dtype="float32"),
        RequestFeature("sort", side="candidate", vocabulary="kind"),
        RequestFeature("price", side="candidate", dtype="float32", log=True),
    )
    items = pa.table({"item_id": ["y", "x"], "sort": ["z", "q"], "price": [0.0, None]})
    later = table.set_column(5, "kind", pa.array(["later"] * 3))
    manifest = requests.write({"train": table, "test": later}, items, features, tmp_path / "out")
    vocabulary = (tmp_path / "out" / "vocabulary" / "kind.txt").read_text()
    assert [json.loads(line) for line in vocabulary.splitlines()] == ["p", "q", "z"]
    assert manifest["statistics"] == {
        "count": {"mean": 1.0, "deviation": 1.0}, "price": {"mean": 0.0, "deviation": 1.0},
    }  # fmt: skip
    assert pq.read_table(tmp_path / "out" / "items.parquet")["item_id"].to_pylist() == ["x", "y"]
    assert from_json(json.loads(json.dumps(to_json(features)))) == features


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": [[1.0], [0.0, 1.0]]}, "as many labels as candidates"),
        ({"candidates": [[], ["x"]], "labels": [[], [1.0]]}, "at least one"),
        ({"mood": [[1.0], [1.0, 2.0]]}, "a vector holds 2 numbers"),
        ({"entry": None}, "no such column"),
    ],
)
def test_what_breaks_a_rule_is_told_and_nothing_is_left(tmp_path, change, told):
    columns = request_data.rows(2).to_pydict() | {k: v for k, v in change.items() if v is not None}
    columns = {name: values for name, values in columns.items() if change.get(name, 0) is not None}
    with pytest.raises(DataError, match=told):
        requests.write({"train": pa.table(columns)}, request_data.items(), request_data.FEATURES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": ""}, "must not be empty"),
        ({"name": "labels"}, "must not be a request's own"),
        ({"side": "item"}, "side must be one of"),
        ({}, "must be named, or hash_buckets be above 0"),
        ({"vocabulary": "x", "hash_buckets": 3}, "must be empty with hash_buckets"),
        ({"dtype": "float32", "vocabulary": "x"}, "with dtype 'float32'"),
        ({"vocabulary": "x", "kind": "bag"}, "length must be at least 1"),
        ({"dtype": "float32", "kind": "bag", "length": 2}, "must not be 'bag' for numbers"),
        ({"vocabulary": "x", "log": True}, "must be false for ids"),
    ],
)
def test_a_feature_that_cannot_be_is_told(settings, told):
    with pytest.raises(ValueError, match=told):
        RequestFeature(**{"name": "f", **settings})
