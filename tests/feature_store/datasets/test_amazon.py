from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.config import DataConfig
from feature_store.datasets import open_dataset
from feature_store.errors import DataError

DAY = 86_400
EPOCH = datetime(2010, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Small.txt").write_text("1 10 11\n2 11 12 10\n")
    items = {
        "item_id": [10, 11, 12],
        "asin": ["A", "B", "C"],
        "title": ["Salt &amp; Pepper", "Lamp", None],
        "categories": [[["Home", "Kitchen"], ["Home", "Food"]], [["Home"]], None],
    }
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    return tmp_path


def write_times(folder, timestamps, users=(1, 1, 2, 2, 2), deltas=(0, DAY, 0, 0, 3 * DAY)):
    columns = {
        "user_id": users,
        "item_id": [10, 11, 11, 12, 10],
        "delta_seconds": deltas,
        "timestamp": pa.array(timestamps, pa.int64()),
    }
    pq.write_table(pa.table(columns), folder / "interactions.parquet")


def batch(folder, table):
    (source,) = open_dataset(DataConfig("amazon", str(folder))).of(table)
    (raw,) = source.read()
    return raw.batch


def seconds(folder):
    return [int(time.timestamp()) for time in batch(folder, "events")["event_time"].to_pylist()]


def test_sequences_become_events_in_file_order(folder):
    events = batch(folder, "events")
    assert events["user_id"].to_pylist() == ["1", "1", "2", "2", "2"]
    assert events["item_id"].to_pylist() == ["10", "11", "11", "12", "10"]
    assert batch(folder, "users")["user_id"].to_pylist() == ["1", "2"]


def test_titles_lose_their_entities_and_categories_their_repeats(folder):
    items = batch(folder, "items").to_pylist()
    assert items[0]["title"] == "Salt & Pepper"
    assert items[0]["categories"] == ["Home", "Kitchen", "Food"]
    assert (items[2]["title"], items[2]["categories"]) == (None, [])


def test_a_brand_is_known_by_its_number_and_may_be_missing(folder):
    assert [item["brand"] for item in batch(folder, "items").to_pylist()] == [None] * 3
    items = pq.read_table(folder / "items.parquet").append_column("brand_attr_id", pa.array([7, None, 9], pa.int32()))
    pq.write_table(items, folder / "items.parquet")
    assert [item["brand"] for item in batch(folder, "items").to_pylist()] == ["7", None, "9"]


def test_known_timestamps_are_used(folder):
    write_times(folder, [DAY, 2 * DAY, 5 * DAY, 5 * DAY, 8 * DAY])
    assert seconds(folder) == [DAY, 2 * DAY, 5 * DAY, 5 * DAY, 8 * DAY]


def test_a_user_without_timestamps_starts_at_the_epoch_and_adds_the_intervals(folder):
    write_times(folder, [DAY, 2 * DAY, None, None, None])
    start = int(EPOCH.timestamp())
    assert seconds(folder) == [DAY, 2 * DAY, start, start, start + 3 * DAY]


def test_without_any_times_all_are_the_epoch(folder):
    assert set(seconds(folder)) == {int(EPOCH.timestamp())}


def test_times_of_other_rows_are_refused(folder):
    write_times(folder, [1, 2, 3, 4, 5], users=[1, 1, 1, 2, 2])
    with pytest.raises(
        DataError, match=r"interactions.parquet, field 'user_id': the rows are those of the text"
    ):
        batch(folder, "events")


def test_times_that_fall_are_refused(folder):
    write_times(folder, [DAY, 0, DAY, DAY, DAY])
    with pytest.raises(DataError, match=r"a user's times never fall \(got 'row 1'\)"):
        batch(folder, "events")


def test_errors_of_the_folder(folder):
    (folder / "Other.txt").write_text("1 2\n")
    with pytest.raises(DataError, match="exactly one text file"):
        open_dataset(DataConfig("amazon", str(folder)))
    (folder / "Other.txt").unlink()
    (folder / "Small.txt").write_text("\n")
    with pytest.raises(DataError, match="Small.txt: the file has no rows"):
        batch(folder, "events")
    pq.write_table(pa.table({"item_id": [1]}), folder / "items.parquet")
    with pytest.raises(DataError, match="field 'asin': the file has no such column"):
        open_dataset(DataConfig("amazon", str(folder)))


@pytest.mark.parametrize(
    "name, counts", [("amazon_beauty", (22_363, 12_101, 198_502)), ("amazon_toys", (19_412, 11_924, 167_597))]
)
def test_the_public_data_has_its_published_counts(shared_data, name, counts):
    dataset = open_dataset(DataConfig("amazon", str(shared_data / name)))
    found = [
        sum(raw.batch.num_rows for source in dataset.of(table) for raw in source.read())
        for table in ("users", "items", "events")
    ]
    assert tuple(found) == counts
