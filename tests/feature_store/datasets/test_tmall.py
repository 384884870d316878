import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import config, datasets
from feature_store.config import DataConfig
from feature_store.datasets import open_dataset
from feature_store.errors import DataError

COUNTS = (
    "total_logs", "unique_item_ids", "categories", "browse_days", "one_clicks", "shopping_carts", "purchase_times",
    "favourite_times",
)  # fmt: skip


def rows(dataset, table):
    (source,) = dataset.of(table)
    read = pickle.loads(pickle.dumps(source)).read()
    return pa.Table.from_batches([raw.batch for raw in read]).to_pylist()


@pytest.fixture
def folder(tmp_path):
    labels = {"user_id": [7, 7, 8], "merchant_id": [1, 2, 1], "label": [0, 1, 0]}
    pq.write_table(pa.table(labels), tmp_path / "labels_all.parquet")
    features = {"user_id": [7], "merchant_id": [2], "label": [1], "age_range": [8], "gender": [1]}
    pq.write_table(pa.table({**features, **{name: [3] for name in COUNTS}}), tmp_path / "features_52k.parquet")
    return tmp_path


def test_pairs_become_impressions_and_what_is_not_known_stays_open(folder):
    dataset = open_dataset(DataConfig("tmall", str(folder)))
    assert rows(dataset, "users") == [
        {"user_id": 7, "age_range": "50 and over", "gender": "male"},
        {"user_id": 8, "age_range": None, "gender": None},
    ]
    shown = rows(dataset, "impressions")
    assert [(row["impression_id"], row["clicked"], row["converted"], row["logs"]) for row in shown] == [
        ("7-1", 1, 0, None),
        ("7-2", 1, 1, 3),
        ("8-1", 1, 0, None),
    ]
    events = rows(dataset, "events")
    assert [(row["user_id"], row["item_id"], row["event_type"]) for row in events] == [
        (7, 1, "click"),
        (7, 2, "click"),
        (7, 2, "purchase"),
        (8, 1, "click"),
    ]
    assert events[1]["event_time"] == events[2]["event_time"] == shown[1]["event_time"]


def test_a_file_that_is_not_there_is_named(folder):
    (folder / "features_52k.parquet").unlink()
    with pytest.raises(DataError, match="features_52k.parquet: there is no such file"):
        open_dataset(DataConfig("tmall", str(folder)))


def test_the_public_data_has_its_counts_and_a_fourteenth_is_the_test(shared_data):
    dataset = open_dataset(DataConfig("tmall", str(shared_data / "tmall_repeat_buyer")))
    shown = rows(dataset, "impressions")
    assert len(shown) == 260_864
    assert sum(row["logs"] is not None for row in shown) == 52_173
    test = sum(row["event_time"] * 1_000_000 >= dataset.test_start for row in shown)
    assert abs(test / len(shown) - 1 / 14) < 0.002


def test_every_reader_may_be_named_in_a_config():
    assert set(datasets.READERS) == set(config.READERS)
