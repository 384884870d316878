import pyarrow as pa
import pytest

from feature_store.config import ExampleConfig
from feature_store.errors import DataError
from feature_store.splits import activity, label_rows

FOUR = [("a", "p", 1), ("a", "q", 2), ("a", "r", 3), ("a", "s", 4)]


@pytest.fixture
def split(make_tables):
    def run(events, length=3, **settings):
        path = make_tables(events) / "events.parquet"
        table, boundaries = label_rows(path, ExampleConfig(**settings), length)
        times = table["label_time"].cast(pa.int64()).to_pylist()
        rows = zip(*(table[name].to_pylist() for name in ("split", "user_id", "target")), times, strict=True)
        return sorted(rows), boundaries, dict(zip(times, table["targets"].to_pylist(), strict=True))

    return run


def test_leave_one_out_holds_out_the_last_two_events(split):
    rows, boundaries, _ = split(FOUR)
    assert rows == [("test", "a", "s", 4), ("train", "a", "q", 2), ("valid", "a", "r", 3)]
    assert boundaries == {}


def test_users_with_fewer_than_three_events_only_train(split):
    rows, _, _ = split([*FOUR, ("b", "p", 5), ("b", "q", 6), ("c", "p", 7)])
    assert [row for row in rows if row[1] != "a"] == [("train", "b", "q", 6)]


def test_three_events_leave_none_to_predict_in_training(split):
    rows, _, _ = split(FOUR[:3])
    assert [row[0] for row in rows] == ["test", "valid"]


def test_all_windows_make_each_event_from_the_second_a_target_once(split):
    events = [("a", "i", time) for time in range(1, 11)]  # events 1 to 8 train
    rows, _, targets = split(events, length=3, windows="all")
    assert [row[3] for row in rows if row[0] == "train"] == [2, 5, 8]
    assert [targets[time] for time in (2, 5, 8)] == [1, 3, 3]


def test_the_last_window_has_at_most_l_targets(split):
    rows, _, targets = split([("a", "i", time) for time in range(1, 11)], length=3)
    assert [row[3] for row in rows if row[0] == "train"] == [8]
    assert targets[8] == 3


def test_global_time_takes_each_users_first_event_of_a_period(split):
    events = [("a", "p", 1), ("a", "q", 2), ("a", "r", 6), ("a", "s", 7), ("a", "t", 9)]
    events += [("b", "p", 3), ("b", "q", 8), ("b", "r", 10), ("c", "p", 4), ("d", "p", 5)]
    # Times 1..10: half of them are below 6 (the quantile 0.51), eight below 9 (the quantile 0.81).
    rows, boundaries, _ = split(events, split="global_time", valid_quantile=0.51, test_quantile=0.81)
    assert boundaries == {"valid": 6, "test": 9}
    assert rows == [
        ("test", "a", "t", 9),
        ("test", "b", "r", 10),
        ("train", "a", "q", 2),
        ("valid", "a", "r", 6),
        ("valid", "b", "q", 8),
    ]


def test_global_time_can_take_the_last_event_of_a_period(split):
    events = [("a", "p", 1), ("a", "q", 2), ("a", "r", 6), ("a", "s", 7), ("a", "t", 9)]
    events += [("b", "p", 3), ("b", "q", 8), ("b", "r", 10), ("c", "p", 4), ("d", "p", 5)]
    rows, _, _ = split(events, split="global_time", held="last", valid_quantile=0.51, test_quantile=0.81)
    assert [row for row in rows if row[0] != "train"] == [
        ("test", "a", "t", 9),
        ("test", "b", "r", 10),
        ("valid", "a", "s", 7),
        ("valid", "b", "q", 8),
    ]
    with pytest.raises(ValueError, match="held must be 'first' with split 'leave_one_out', received 'last'"):
        split(events, held="last")


def test_global_time_skips_a_first_event_that_has_nothing_before_it(split):
    events = [("a", "p", 1), ("a", "q", 2), ("b", "p", 8), ("b", "q", 9), ("b", "r", 10)]
    rows, boundaries, _ = split(events, split="global_time", valid_quantile=0.5, test_quantile=0.9)
    assert boundaries == {"valid": 8, "test": 10}
    assert rows == [("test", "b", "r", 10), ("train", "a", "q", 2), ("valid", "b", "q", 9)]


def test_the_time_split_can_be_of_later_events_alone(split):
    events = [("a", "i", time) for time in range(1, 11)] + [("b", "i", 20), ("b", "i", 30)]
    # Of 8 to 30 (5 events) the middle one is 10, the fourth 20.
    _, boundaries, _ = split(events, split="global_time", after=7, valid_quantile=0.5, test_quantile=0.8)
    assert boundaries == {"valid": 10, "test": 20}
    with pytest.raises(DataError, match="after.*no event is later"):
        split(events, split="global_time", after=30)


def test_activity_is_of_what_training_may_see(make_tables):
    day = 86400 * 10**6
    events = [("a", "p", day), ("a", "q", 3 * day), ("b", "p", 2 * day), ("b", "r", 4 * day), ("b", "q", 5 * day)]
    path = make_tables(events) / "events.parquet"
    seen = activity(path, ExampleConfig(split="global_time", valid_quantile=0.7, test_quantile=0.9))  # from day 4 on
    rows = sorted(zip(*(seen[name].to_pylist() for name in ("item_id", "count", "days")), strict=True))
    assert rows == [("p", 2, 1.0), ("q", 1, 0.0)]
    seen = activity(path, ExampleConfig())  # of b's three events the last two are held out
    assert sorted(zip(seen["item_id"].to_pylist(), seen["count"].to_pylist(), strict=True)) == [("p", 2), ("q", 1)]
