"""Examples made of a served log where it has them: each label row once, nothing of the future."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import request

from feature_store import examples
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.errors import DataError
from feature_store.served_features import _is_past
from feature_store.tfrecord import write_records

LENGTH = 3
EVENTS = [("a", item, 10 * time) for time, item in enumerate("pqrstu", 1)] + [("bb", "p", 10), ("bb", "t", 40)]


@pytest.fixture
def make(make_tables, make_features, tmp_path):
    """Makes examples of events and requests; gives each split's rows, and the manifest."""

    def run(events, requests, **config):
        for name in ("tables", "features", "examples", "log"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / "log").mkdir()
        write_records(tmp_path / "log" / "s-000000000000.tfrecord.open", [row.to_record() for row in requests])
        tables = make_tables(events)
        config = ExampleConfig(served_log=str(tmp_path / "log"), shards=2, **config)
        features, out = make_features(tables, LENGTH), tmp_path / "examples"
        manifest = examples.write(tables, features, out, config, FeatureConfig(LENGTH))
        columns = ["user_id", "label_time", "row_id", "history", "event_count", "age", "target"]
        return {split: examples.read_rows(out, split, columns).to_pylist() for split in manifest["splits"]}, manifest

    return run


def of(rows, user):
    (row,) = [row for row in rows if row["user_id"] == user]
    return row


def test_a_row_that_was_served_has_the_features_as_served_and_the_log_s_row_id(make):
    stale = request(7, "a", 55, "qrs", event_count=4, age=33)  # the store had not got the event at 50, nor the new age
    rows, manifest = make(EVENTS, [request(6, "a", 52, "pq", event_count=2), stale, request(8, "a", 60, "stu")])
    row = of(rows["test"], "a")
    assert (row["history"], row["event_count"], row["age"]) == (["q", "r", "s"], 4, 33)
    assert (row["row_id"], row["target"]) == ("s-000000000007", "u")
    assert of(rows["valid"], "a")["row_id"] == "" and of(rows["valid"], "a")["history"] == ["q", "r", "s"]
    assert manifest["splits"]["test"]["log"] == {"served": 1, "empty": 0, "not past": 0}
    assert manifest["splits"]["train"]["log"] == {"served": 0, "empty": 0, "not past": 0}
    assert manifest["served_log"]["rows"] == 3
    assert [field["name"] for field in manifest["features"]][-1] == "row_id"


def test_what_a_request_did_not_have_is_that_of_the_as_of_join(make):
    rows, _ = make(EVENTS, [request(1, "a", 55, age=9), request(2, "bb", 20, "p")])
    row = of(rows["test"], "a")
    assert (row["history"], row["event_count"], row["age"]) == (["r", "s", "t"], 5, 9)
    assert row["row_id"] == "s-000000000001"
    row = of(rows["train"], "bb")
    assert (row["history"], row["event_count"], row["age"], row["row_id"]) == (["p"], 1, 2, "s-000000000002")


def test_a_request_before_the_event_before_is_not_of_this_label(make):
    rows, manifest = make(EVENTS, [request(1, "a", 45, "qrs"), request(2, "a", 50, "qrs")])
    assert of(rows["test"], "a")["row_id"] == ""
    assert of(rows["valid"], "a")["row_id"] == "s-000000000001"
    assert manifest["splits"]["test"]["log"]["served"] == 0


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (request(1, "a", 55, "stu"), "not past"),  # holds the target
        (request(1, "a", 55, "tsr"), "not past"),  # in an order that was not
        (request(1, "a", 55, "rst", event_count=6), "not past"),
        (request(1, "a", 55, ""), "empty"),
    ],
)
def test_what_is_not_of_the_past_is_refused(make, row, why):
    rows, manifest = make(EVENTS, [row])
    found = of(rows["test"], "a")
    assert (found["history"], found["event_count"], found["row_id"]) == (["r", "s", "t"], 5, "")
    assert manifest["splits"]["test"]["log"] == {"served": 0, "empty": 0, "not past": 0} | {why: 1}


def test_a_repeated_target_is_no_excuse(make):
    """The target was met before too: its second place in the served history is from the future."""
    events = [("a", item, 10 * time) for time, item in enumerate("pqrq", 1)]
    rows, manifest = make(events, [request(1, "a", 35, "qrq")])
    assert of(rows["test"], "a")["history"] == ["p", "q", "r"]
    assert manifest["splits"]["test"]["log"]["not past"] == 1


def test_a_longer_history_is_cut_and_counts_no_more_targets(make):
    rows, manifest = make(EVENTS, [request(1, "a", 35, "pqr"), request(2, "bb", 20, "p")], windows="all")
    assert manifest["splits"]["train"]["targets"] == sum(len(row["history"]) for row in rows["train"])
    rows, _ = make(EVENTS, [request(1, "a", 55, "pqrst")])
    assert of(rows["test"], "a")["history"] == ["r", "s", "t"]


def test_a_log_that_is_not_there_is_named(make, make_tables, make_features, tmp_path):
    tables = make_tables(EVENTS)
    config = ExampleConfig(served_log=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no such folder of a served log"):
        examples.write(tables, make_features(tables, LENGTH), tmp_path / "out", config, FeatureConfig(LENGTH))
    assert not (tmp_path / "out").exists()


logs = st.dictionaries(
    st.sampled_from(["a", "bb"]), st.lists(st.tuples(st.sampled_from("pqrs"), st.integers(0, 30)), max_size=8)
).filter(lambda log: any(len({time for _, time in rows}) >= 2 for rows in log.values()))
requests = st.lists(
    st.tuples(st.sampled_from(["a", "bb", "nobody"]), st.integers(0, 32), st.integers(0, 4), st.booleans()), max_size=12
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=logs, asked=requests, windows=st.sampled_from(["last", "all"]),
       split=st.sampled_from(["leave_one_out", "global_time"]))  # fmt: skip
def test_each_label_row_is_there_once_and_of_the_log_if_and_only_if_the_log_has_it(make, log, asked, windows, split):
    """A request knows all of its user's events before it but the newest ``behind``; some know one that is to come."""
    events = [(user, item, 10 * time) for user, rows in log.items() for item, time in rows]
    try:
        plain, _ = make(events, [], windows=windows, split=split)
    except DataError as error:
        assert "no training row" in str(error)
        return
    past = _finished(log)
    served = []
    for number, (user, time, behind, leaks) in enumerate(sorted(asked, key=lambda each: each[1])):
        at = 10 * time + 5
        known = [item for item, when in past.get(user, []) if when < at]
        coming = [item for item, when in past.get(user, []) if when >= at]
        history = known[: max(len(known) - behind, 0)] + (coming[:1] if leaks else [])
        served.append((user, at, number, history, request(number, user, at, history)))
    rows, _ = make(events, [row for *_, row in served], windows=windows, split=split)
    for name, found in rows.items():
        labels = [(row["user_id"], row["label_time"]) for row in found]
        assert labels == [(row["user_id"], row["label_time"]) for row in plain[name]]
        assert len(set(labels)) == len(labels)
        for row, joined in zip(found, plain[name], strict=True):
            history, row_id = _expected(row, past, served, joined["history"])
            assert (row["history"], row["row_id"]) == (history, row_id)
            before = [item for item, when in past[row["user_id"]] if when < row["label_time"]]
            assert _is_past(row["history"], before, len(before) - 1, len(before))


def _finished(log):
    """Each user's events in order, with times that are microseconds apart where they tie, as the tables have them."""
    found = {}
    for user, rows in log.items():
        times = []
        for item, time in sorted(dict.fromkeys(rows), key=lambda row: row[1]):
            when = 10 * time
            times.append((item, max(when, times[-1][1] + 1) if times else when))
        found[user] = times
    return found


def _expected(row, past, served, joined):
    """By hand: the newest request after the event before the label, and before the label, unless it leaks."""
    before = [(item, when) for item, when in past[row["user_id"]] if when < row["label_time"]]
    mine = [each for each in served if each[0] == row["user_id"] and before[-1][1] < each[1] < row["label_time"]]
    if not mine:
        return joined, ""
    *_, number, history, _ = max(mine, key=lambda each: (each[1], each[2]))
    left = iter([item for item, _ in before])
    if not history or not all(item in left for item in history):
        return joined, ""
    return history[-LENGTH:], f"s-{number:012d}"
