import gzip
import pickle
import sys
from collections import Counter

import pytest

from feature_store.config import DataConfig
from feature_store.datasets import open_dataset
from feature_store.errors import DataError


def rows(dataset, table):
    (source,) = dataset.of(table)
    return [row for raw in pickle.loads(pickle.dumps(source)).read() for row in raw.batch.to_pylist()]


def test_movielens_100k_is_read_from_its_wheel_without_importing_it():
    dataset = open_dataset(DataConfig("movielens_100k"))
    users, items, events = (rows(dataset, name) for name in ("users", "items", "events"))
    assert (len(users), len(items), len(events)) == (943, 1682, 100_000)
    assert "recbole" not in sys.modules
    assert users[0] == {
        "user_id": "1",
        "age": "24",
        "gender": "M",
        "occupation": "technician",
        "zip_code": "85711",
    }
    assert items[0]["title"] == "Toy Story"
    assert items[0]["categories"] == ["Animation", "Children's", "Comedy"]
    assert events[0] == {
        "user_id": "196",
        "item_id": "242",
        "event_time": "881250949",
        "value": "3",
        "event_type": "rating",
    }


def test_movielens_100k_marks_what_it_does_not_know_as_missing():
    items = {row["item_id"]: row for row in rows(open_dataset(DataConfig("movielens_100k")), "items")}
    assert (items["267"]["title"], items["267"]["release_year"]) == (None, None)
    assert items["1412"]["release_year"] is None  # "V" in the file


def test_a_column_that_is_not_there_is_named(tmp_path):
    for name in ("inter", "user", "item"):
        (tmp_path / f"ml-100k.{name}").write_text("user_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(DataError, match=r"ml-100k.user, field 'age': the file has no such column"):
        open_dataset(DataConfig("movielens_100k", str(tmp_path)))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"ml-100k.user.gz: there is no such file"):
        open_dataset(DataConfig("movielens_100k", str(tmp_path)))


def test_movielens_1m_ends_each_user_with_the_row_marked_last(shared_data):
    dataset = open_dataset(DataConfig("movielens_1m", str(shared_data / "movielens_1m")))
    events = rows(dataset, "events")
    assert len(events) == 1_000_209
    assert len({row["user_id"] for row in events}) == 6040
    assert (len(rows(dataset, "users")), len(rows(dataset, "items"))) == (6040, 3706)
    counts = Counter(row["user_id"] for row in events)
    assert (min(counts.values()), max(counts.values())) == (20, 2314)
    first = [row for row in events if row["user_id"] == 1]
    assert first[-1]["event_time"] == max(row["event_time"] for row in first)


def test_movielens_1m_prefers_the_newer_genres(tmp_path):
    header = "item_idx\tmovie_id\ttitle\tyear\tgenres_ml_latest_small\tgenres_ml1m\n"
    lines = "0\t5\tOne\t1990\tDrama|War\tdrama\n1\t\t\t\t\tcomedy|war\n"
    with gzip.open(tmp_path / "movies.tsv.gz", "wt") as file:
        file.write(header + lines)
    from feature_store.datasets.dataset import Source
    from feature_store.datasets.movielens import _movies

    (raw,) = Source("items", str(tmp_path / "movies.tsv.gz"), 0, _movies).read()
    assert raw.batch["categories"].to_pylist() == ["Drama|War", "comedy|war"]
