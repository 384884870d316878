import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.errors import DataError
from feature_store.schema import Field, Schema
from feature_store.tables import (
    CheckContext,
    RawBatch,
    check,
    entities,
    finish,
    finish_events,
    require_few_bad,
)

SCHEMA = Schema(user_attributes=(Field("age", "int64"),))
NOW = 1_000_000_000  # 1,000 seconds after 1970


def raw_events(**columns):
    return RawBatch("events", pa.record_batch(columns), "log.csv", 10)


def context(**known):
    return CheckContext(SCHEMA, NOW, max_future_seconds=60, **known)


def checked(rows):
    """(user, item, seconds) rows, checked."""
    users, items, times = zip(*rows, strict=True)
    good, dead = check(raw_events(user_id=users, item_id=items, event_time=times), context())
    assert not dead
    return pa.Table.from_batches([good])


@pytest.mark.parametrize(
    "user, item, time, reason",
    [
        ("", "i", "5", "missing user_id"),
        (None, "i", "5", "missing user_id"),
        ("u", "", "5", "missing item_id"),
        ("u", "i", "soon", "unparsable time in event_time"),
        ("u", "i", "", "missing event_time"),
        ("u", "i", "1061", "time in the future in event_time"),
        ("v", "i", "5", "unknown user"),
        ("u", "j", "5", "unknown item"),
    ],
)
def test_a_bad_event_becomes_a_dead_letter_with_its_reason(user, item, time, reason):
    known = context(users=pa.array(["u"]), items=pa.array(["i"]))
    raw = raw_events(user_id=["u", user], item_id=["i", item], event_time=["5", time])
    good, (letter,) = check(raw, known)
    assert good.num_rows == 1
    assert (letter.table, letter.source, letter.row, letter.reason) == ("events", "log.csv", 11, reason)
    assert json.loads(letter.record) == {"user_id": user, "item_id": item, "event_time": time}


def test_a_value_of_the_wrong_type_is_a_dead_letter_but_a_missing_attribute_is_not():
    raw = RawBatch("users", pa.record_batch({"user_id": ["a", "b"], "age": ["old", ""]}), "users.csv", 0)
    good, (letter,) = check(raw, context())
    assert letter.reason == "wrong type in age"
    assert good.select(["user_id", "age"]).to_pylist() == [{"user_id": "b", "age": None}]


def test_a_missing_column_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"log.csv, field 'event_time': a required column is missing"):
        check(raw_events(user_id=["u"], item_id=["i"]), context())


def test_columns_the_log_lacks_take_their_defaults():
    (row,) = checked([("u", "i", 7)]).to_pylist()
    assert (row["event_type"], row["value"], row["created_time"]) == ("interaction", 1.0, row["event_time"])


def test_odd_ids_are_kept_as_they_are():
    odd = "line\nbreak \u2028 'q' \"d\" | \x00"
    assert checked([(odd, odd, 1)]).to_pylist()[0]["item_id"] == odd


def test_an_empty_batch_is_fine():
    empty = pa.array([], pa.string())
    good, dead = check(raw_events(user_id=empty, item_id=empty, event_time=empty), context())
    assert (good.num_rows, dead) == (0, [])
    assert finish_events(pa.Table.from_batches([good]))[0].num_rows == 0


def test_ties_keep_the_logs_order_a_microsecond_apart():
    rows = checked([("b", "x", 5), ("a", "y", 7), ("a", "z", 5), ("a", "x", 5)])
    table, duplicates = finish_events(rows)
    times = table["event_time"].cast(pa.int64()).to_pylist()
    assert table["item_id"].to_pylist() == ["z", "x", "y", "x"]
    assert times == [5_000_000, 5_000_001, 7_000_000, 5_000_000]
    assert table["created_time"].cast(pa.int64()).to_pylist() == times
    assert duplicates == 0


def test_a_tie_that_runs_into_the_next_time_pushes_it_on():
    times = pa.array([1, 1, 1, 2, 9], pa.timestamp("us", tz="UTC"))
    batch = raw_events(user_id=["u"] * 5, item_id=list("abcde"), event_time=times)
    table, _ = finish_events(pa.Table.from_batches([check(batch, context())[0]]))
    assert table["event_time"].cast(pa.int64()).to_pylist() == [1, 2, 3, 4, 9]


def test_a_duplicate_event_is_kept_once_the_one_known_latest():
    raw = raw_events(
        user_id=["u"] * 3,
        item_id=["i"] * 3,
        event_time=["5"] * 3,
        created_time=["6", "8", "7"],
        value=[1, 2, 3],
    )
    table, duplicates = finish("events", pa.Table.from_batches([check(raw, context())[0]]))
    assert duplicates == 2
    assert table["value"].to_pylist() == [2.0]


def test_a_second_row_of_a_user_is_a_duplicate_and_the_first_is_kept():
    batch = pa.record_batch({"user_id": ["b", "a", "b"], "age": [1, 2, 3]})
    good, _ = check(RawBatch("users", batch, "users", 0), context())
    table, duplicates = finish("users", pa.Table.from_batches([good]))
    assert table.to_pylist() == [{"user_id": "a", "age": 2}, {"user_id": "b", "age": 1}]
    assert duplicates == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 4)), min_size=1, max_size=30
    ),
    st.randoms(use_true_random=False),
)
def test_finished_events_do_not_depend_on_the_order_of_arrival(rows, random):
    table = checked(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert finish_events(table.take(order))[0] == finish_events(table)[0]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6)), min_size=1, max_size=30))
def test_each_users_times_rise_strictly_and_by_no_more_than_needed(rows):
    users = [user for user, _ in rows]
    times = pa.array([time for _, time in rows], pa.timestamp("us", tz="UTC"))
    batch = raw_events(user_id=users, item_id=[str(i) for i in range(len(rows))], event_time=times)
    table, _ = finish_events(pa.Table.from_batches([check(batch, context())[0]]))
    for user in set(users):
        expected = []
        for time in sorted(time for name, time in rows if name == user):
            expected.append(max(time, expected[-1] + 1) if expected else time)
        mine = table.filter(pa.array(np.array(table["user_id"].to_pylist()) == user))
        assert mine["event_time"].cast(pa.int64()).to_pylist() == expected


def test_entities_of_events_have_defaults():
    table = entities(SCHEMA, "items", pa.chunked_array([["b", "a"], ["b"]]))
    assert table.to_pylist() == [
        {"item_id": "a", "title": "", "categories": []},
        {"item_id": "b", "title": "", "categories": []},
    ]


def test_too_many_bad_rows_fail():
    require_few_bad("events", 99, 1, 0.01, {})
    with pytest.raises(DataError, match=r"2 of 100 rows are bad.*max_bad_share=0.01.*unknown user"):
        require_few_bad("events", 98, 2, 0.01, {"unknown user": 2})
    with pytest.raises(DataError, match="the table has no rows"):
        require_few_bad("events", 0, 0, 1.0, {})
    with pytest.raises(DataError, match="no row is good"):
        require_few_bad("events", 0, 3, 1.0, {})


SHOWN = Schema(impression_context=(Field("position", "int64"),), optional=("impressions", "searches"))


@pytest.mark.parametrize(
    "clicked, converted, reason",
    [
        ("1", "1", ""),
        ("0", "", ""),
        ("", "0", "missing clicked"),
        ("2", "0", "neither 0 nor 1 in clicked"),
        ("1", "3", "neither 0 nor 1 in converted"),
        ("0", "1", "converted without a click"),
        ("300", "0", "wrong type in clicked"),
    ],
)
def test_an_impressions_flags_are_checked(clicked, converted, reason):
    columns = {
        "impression_id": ["a"], "user_id": ["u"], "item_id": ["i"], "event_time": ["5"], "clicked": [clicked],
        "converted": [converted],
    }  # fmt: skip
    rows, dead = check(RawBatch("impressions", pa.record_batch(columns), "f", 0), CheckContext(SHOWN, NOW))
    assert [letter.reason for letter in dead] == ([reason] if reason else [])
    if not reason:
        assert rows.drop_columns(["log_order"]).to_pylist()[0] | {"event_time": 0} == {
            "impression_id": "a", "user_id": "u", "item_id": "i", "event_time": 0, "clicked": int(clicked),
            "converted": int(converted or 0), "position": None,
        }  # fmt: skip


def test_the_first_impression_of_an_id_and_the_first_equal_search_are_kept():
    shown = {"impression_id": ["a", "b", "a"], "user_id": ["u", "u", "u"], "item_id": ["i", "i", "k"]}
    rows, duplicates = finish("impressions", pa.table({**shown, "log_order": [2, 1, 0]}))
    assert (rows["item_id"].to_pylist(), duplicates) == (["k", "i"], 1)
    sought = {"user_id": ["u", "u", "u"], "event_time": [1, 1, 2], "query": ["tea", "tea", "tea"]}
    rows, duplicates = finish("searches", pa.table({**sought, "log_order": [0, 1, 2]}))
    assert (rows["event_time"].to_pylist(), duplicates) == ([1, 2], 1)
