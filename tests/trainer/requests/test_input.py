"""Requests as tensors, in training and as they come in serving."""

import numpy as np
import pyarrow as pa
import pytest
import request_data
import tensorflow as tf

from feature_store import requests
from feature_store.request_schema import RequestFeature
from trainer.requests.input import Requests


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    table = pa.table(
        {"user_id": ["a", "b"], "request_id": ["1", "2"], "label_time": [1, 2],
         "candidates": [["i02", "new"], ["i00"]], "labels": [[1.0, 0.0], [1.0]],
         "age": ["7", None], "purchases": [["i01", "gone", "i02"], []], "purchase_count": [np.e - 1, None],
         "tags": [["x"], None], "mood": [[1.0, 2.0], None], "gaps": [[1.0], [1.0, 2.0, 3.0, 4.0]],
         "entry": ["home", "search"], "hour": [3, None]}
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("requests")
    requests.write({"train": table, "valid": table.slice(1)}, request_data.items(), request_data.FEATURES, folder / "r")
    return Requests(folder / "r")


def parsed(data):
    (shard,) = data.shards("train")[:1]
    records = [r for s in data.shards("train") for r in tf.data.TFRecordDataset(s.file)]
    assert shard.records
    return data.parse(tf.stack(records))


def test_rows_are_as_declared(data):
    rows = parsed(data)
    assert rows.candidates.numpy().tolist() == [[2, -1], [0, -1]]  # an unknown candidate is there, padding is not
    assert rows.present.numpy().tolist() == [[True, True], [True, False]]
    assert rows.labels.numpy().tolist() == [[1, 0], [1, 0]]
    found = {name: values.numpy().tolist() for name, values in rows.features.items()}
    assert found["age"] == [0, -1] and found["entry"] == [0, 1]
    assert found["purchases"] == [[-1, 1, -1, 2], [-1] * 4]  # an unknown item keeps its place
    assert found["purchase_count"] == [pytest.approx(0.0, abs=1e-6), 0.0]  # alone, it is the mean
    assert found["mood"] == [[1, 2], [0, 0]] and found["gaps"] == [[0, 0, 0, 1], [1, 2, 3, 4]]
    assert found["tags"][1] == [-1] * 3 and 0 <= found["tags"][0][-1] < 11
    assert 0 <= found["hour"][0] < 24 and found["hour"][1] == -1
    missing = {name: values.numpy().tolist() for name, values in rows.missing.items()}
    assert missing == {"age": [False, True], "purchase_count": [False, True], "entry": [False] * 2,
                       "hour": [False, True]}  # fmt: skip


def test_serving_encodes_what_training_parses(data):
    rows = parsed(data)
    raw = {
        "age": ["7", ""], "purchases": [["i01", "gone", "i02"], ["", "", ""]], "purchase_count": [np.e - 1, np.nan],
        "tags": [["x", ""], ["", ""]], "mood": [[1.0, 2.0], [np.nan, np.nan]], "entry": ["home", "search"],
        "gaps": [[0.0, 0.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0]],
    }  # fmt: skip
    types = {"purchase_count": tf.float32, "mood": tf.float32, "gaps": tf.float32}
    given = {name: tf.constant(values, types.get(name, tf.string)) for name, values in raw.items()}
    given["hour"] = tf.constant([3, -1], tf.int64)
    features, missing = data.encode(given)
    for name, values in rows.features.items():
        np.testing.assert_allclose(features[name], values, atol=1e-6, err_msg=name)
    for name, values in rows.missing.items():
        np.testing.assert_array_equal(missing[name], values, err_msg=name)


def test_items_columns_lie_in_the_order_of_their_ids(data):
    columns = data.item_columns
    assert columns["category"][:4].tolist() == [0, 1, 2, 0]
    price = columns["price"]
    assert price.mean() == pytest.approx(0, abs=1e-6) and price.std() == pytest.approx(1, rel=1e-5)
    assert (np.diff(price) > 0).all()


def test_a_shared_vocabulary_is_one(tmp_path):
    table = pa.table(
        {"user_id": ["a"], "request_id": ["1"], "label_time": [1], "candidates": [["x"]], "labels": [[1.0]],
         "likes": [["red", "blue"]]}
    )  # fmt: skip
    features = (
        RequestFeature("likes", kind="bag", vocabulary="colour", length=2),
        RequestFeature("colours", side="candidate", kind="bag", vocabulary="colour", length=2),
    )
    requests.write({"train": table}, pa.table({"item_id": ["x"], "colours": [["green", "red"]]}), features, tmp_path)
    data = Requests(tmp_path)
    assert data.size("colour") == 3 and data.item_columns["colours"].tolist() == [[1, 2]]
    assert parsed(data).features["likes"].numpy().tolist() == [[2, 0]]
