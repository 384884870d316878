from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.asof import asof_join
from feature_store.errors import DataError
from feature_store.schema import FeatureView, Field

VIEW = FeatureView("view", "user_id", (Field("n", "int64", default=-1), Field("tags", shape=(None,))))
MOMENT = pa.timestamp("us", tz="UTC")


def features(rows):
    """(user, event time, created time, n) rows; ``tags`` repeats n as text, null with it."""
    users, times, created, numbers = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
    tags = [None if n is None else [str(n)] for n in numbers]
    columns = [users, pa.array(times, MOMENT), pa.array(created, MOMENT), pa.array(numbers, pa.int64()), tags]
    return pa.table(columns, names=VIEW.arrow().names).cast(VIEW.arrow())


def labels(rows):
    users, times = map(list, zip(*rows, strict=True)) if rows else ([], [])
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "label_time": pa.array(times, MOMENT),
            "id": pa.array(range(len(rows))),
        }
    )


def joined(label_rows, feature_rows, **settings):
    batches = asof_join(labels(label_rows), features(feature_rows), VIEW, **settings)
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [(row["n"], row["tags"]) for row in sorted(rows, key=lambda row: row["id"])]


def test_a_label_takes_the_newest_row_strictly_before_it():
    known = [("a", 1, 1, 10), ("a", 3, 3, 30), ("b", 0, 0, 99)]
    assert joined([("a", 1), ("a", 2), ("a", 3), ("a", 4)], known) == [
        (-1, []),
        (10, ["10"]),
        (10, ["10"]),
        (30, ["30"]),
    ]


def test_inclusive_takes_a_row_of_the_same_time():
    assert joined([("a", 3)], [("a", 1, 1, 10), ("a", 3, 3, 30)], strict=False) == [(30, ["30"])]


def test_of_two_rows_at_one_time_the_later_created_wins():
    known = [("a", 1, 5, 50), ("a", 1, 9, 90), ("a", 1, 7, 70)]
    for strict in (True, False):
        assert joined([("a", 2)], known, strict=strict) == [(90, ["90"])]


def test_null_features_and_unknown_keys_take_the_defaults():
    assert joined([("a", 2), ("z", 2), (None, 2)], [("a", 1, 1, None)]) == [(-1, [])] * 3


def test_no_labels_and_no_features():
    assert joined([], [("a", 1, 1, 10)]) == []
    assert joined([("a", 1)], []) == [(-1, [])]


times = st.integers(0, 3)  # few, so that ties are many
numbers = st.one_of(st.none(), st.integers(0, 99))
feature_rows = st.lists(
    st.tuples(st.sampled_from("ab"), times, times, numbers), max_size=25, unique_by=lambda row: row[:3]
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), times), max_size=15), feature_rows, st.booleans())
def test_it_equals_a_brute_force_join(label_rows, known, strict):
    expected = []
    for user, moment in label_rows:
        before = [
            row for row in known if row[0] == user and (row[1] < moment or not strict and row[1] == moment)
        ]
        n = max(before, key=lambda row: row[1:3])[3] if before else None
        expected.append((-1, []) if n is None else (n, [str(n)]))
    assert joined(label_rows, known, strict=strict, threads=1) == expected


def test_parquet_files_and_a_memory_limit(tmp_path):
    pq.write_table(labels([("a", 2), ("b", 2)] * 1000), tmp_path / "labels.parquet")
    for part, user in enumerate("ab"):
        pq.write_table(features([(user, 1, 1, part)]), tmp_path / f"features{part}.parquet")
    paths = [tmp_path / "features0.parquet", tmp_path / "features1.parquet"]
    batches = list(asof_join(tmp_path / "labels.parquet", paths, VIEW, threads=1, memory_limit="500MB"))
    assert Counter(row["n"] for batch in batches for row in batch.to_pylist()) == {0: 1000, 1: 1000}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda table: table.drop_columns(["user_id"]), "field 'user_id': the labels have no such column"),
        (lambda table: table.append_column("n", table["id"]), "already have columns of these names"),
        (
            lambda table: table.set_column(1, "label_time", table["id"]),
            "field 'label_time': the labels' time is a timestamp with time zone",
        ),
    ],
)
def test_unusable_labels_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        list(asof_join(change(labels([("a", 1)])), features([]), VIEW))


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="broken.parquet: cannot be read as Parquet"):
        list(asof_join(labels([("a", 1)]), tmp_path / "broken.parquet", VIEW))
