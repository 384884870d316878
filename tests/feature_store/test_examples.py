import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_store import examples
from feature_store.config import DataConfig, ExampleConfig, FeatureConfig
from feature_store.errors import DataError

EVENTS = [("a", item, time) for time, item in enumerate("pqrstq", 1)] + [("bb", "p", 1), ("bb", "t", 4)]


@pytest.fixture
def write(make_tables, make_features, tmp_path):
    def run(events, length=3, **config):
        for name in ("tables", "features", "examples"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        tables = make_tables(events)
        features = make_features(tables, length)
        out = tmp_path / "examples"
        manifest = examples.write(tables, features, out, ExampleConfig(**config), FeatureConfig(length))
        return out, manifest

    return run


def read(out: Path, split: str) -> list[dict]:
    rows = []
    for shard in examples.read_manifest(out)["splits"][split]["shards"]:
        for record in tf.data.TFRecordDataset(str(out / shard["file"])).as_numpy_iterator():
            row = {}
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                row[name] = [v.decode() for v in feature.bytes_list.value] or list(feature.int64_list.value)
            rows.append(row)
    return sorted(rows, key=lambda row: (row["user_id"], row["label_time"]))


def test_rows_hold_what_was_known_before_the_target(write):
    out, manifest = write(EVENTS)
    assert read(out, "test") == [
        {
            "user_id": ["a"],
            "history": ["r", "s", "t"],
            "target": ["q"],
            "label_time": [6],
            "event_count": [5],
            "age": [1],
            "seen": ["p", "q", "r", "s", "t"],
        }
    ]
    assert [(row["history"], row["target"]) for row in read(out, "valid")] == [(["q", "r", "s"], ["t"])]
    assert [(row["user_id"], row["history"], row["target"], row["age"]) for row in read(out, "train")] == [
        (["a"], ["p", "q", "r"], ["s"], [1]),
        (["bb"], ["p"], ["t"], [2]),
    ]
    assert "seen" not in read(out, "train")[0]
    assert manifest["splits"]["train"]["targets"] == 4
    assert (manifest["history_length"], manifest["split"]) == (3, "leave_one_out")
    assert manifest["window"] == {"first": 1, "last": 6}


def test_the_spec_describes_every_feature_of_the_rows(write):
    out, manifest = write(EVENTS)
    for split in ("train", "test"):
        assert examples.example_spec(manifest, split).keys() == read(out, split)[0].keys()
    history = examples.example_spec(examples.read_manifest(out))["history"]
    assert (history.dtype, history.shape, history.vocabulary, history.max_length) == (
        "string",
        (None,),
        "item",
        3,
    )


def test_the_vocabulary_is_every_item_sorted_and_escaped(write):
    odd = "x\ny"
    out, manifest = write([*EVENTS, ("c", odd, 1), ("c", "é", 2)])
    lines = (out / "vocabulary" / "item.txt").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ["p", "q", "r", "s", "t", odd, "é"]
    entry = manifest["vocabulary"]["item"]
    assert entry["size"] == 7
    assert entry["sha256"] == hashlib.sha256((out / entry["file"]).read_bytes()).hexdigest()


def test_the_items_stand_beside_their_examples_in_the_order_of_the_vocabulary(write):
    out, manifest = write([*EVENTS, ("c", "é", 2)])
    items = pq.read_table(out / manifest["items"]["file"])
    assert items["item_id"].to_pylist() == ["p", "q", "r", "s", "t", "é"]
    assert manifest["items"]["rows"] == 6
    assert "categories" in items.column_names and "title" not in items.column_names


def test_shards_are_even_and_no_more_than_rows(write):
    events = [(f"user{n}", item, time) for n in range(10) for time, item in enumerate("pqrs")]
    _, manifest = write(events, shards=4)
    assert [shard["examples"] for shard in manifest["splits"]["train"]["shards"]] == [2, 3, 2, 3]
    _, manifest = write(EVENTS, shards=8)
    assert [shard["examples"] for shard in manifest["splits"]["train"]["shards"]] == [1, 1]


def test_the_same_input_gives_the_same_bytes_however_it_is_cut(write, monkeypatch):
    events = [(f"user{n}", item, time) for n in range(20) for time, item in enumerate("pqrstu")]
    _, whole = write(events, shards=4)
    monkeypatch.setattr(examples, "_PASS_ROWS", 5)
    _, cut = write(events, shards=4)
    assert whole == cut


histories = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.tuples(st.sampled_from("pqrs"), st.integers(0, 9)), max_size=9),
).filter(lambda log: any(len({*rows}) in (2, 4, 5, 6, 7, 8, 9) for rows in log.values()))


def test_rows_can_be_read_back_without_tensorflow(write):
    out, _ = write([("a", f"i{n}", n) for n in range(6)] + [("é", "x", 1), ("é", "y", -2)], shards=2)
    columns = ["user_id", "history", "label_time", "age"]
    for split in ("train", "valid", "test"):
        found = examples.read_rows(out, split, columns).to_pylist()
        rows = read(out, split)
        told = [{name: row[name] if name == "history" else row[name][0] for name in columns} for row in rows]
        assert sorted(found, key=lambda row: (row["user_id"], row["label_time"])) == told
    assert len(examples.read_rows(out, "train", columns, shard=1)) == 1
    with pytest.raises(DataError, match="field 'seen': examples have the features"):
        examples.read_rows(out, "train", ["seen"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log=histories,
    windows=st.sampled_from(["last", "all"]),
    split=st.sampled_from(["leave_one_out", "global_time"]),
)
def test_no_row_holds_its_target_event_or_anything_later(write, log, windows, split):
    events = [(user, item, time) for user, rows in log.items() for item, time in rows]
    try:
        out, _ = write(events, length=3, windows=windows, split=split)
    except DataError as error:
        assert "no training row" in str(error)
        return
    ordered = _finished(out.parent / "tables")
    for name in ("train", "valid", "test"):
        for row in read(out, name):
            mine = ordered[row["user_id"][0]]
            before = [item for item, time in mine if time < row["label_time"][0]]
            assert row["history"] == before[-3:]
            assert row["event_count"] == [len(before)]
            assert (row["target"][0], row["label_time"][0]) in mine
            if name != "train":
                assert row["seen"] == sorted(set(before))


def _finished(tables):
    import pyarrow as pa

    from feature_store.table_folder import read_table

    events = read_table(tables, "events")
    times = events["event_time"].cast(pa.int64()).to_pylist()
    ordered = {}
    for user, item, time in zip(
        events["user_id"].to_pylist(), events["item_id"].to_pylist(), times, strict=True
    ):
        ordered.setdefault(user, []).append((item, time))
    return ordered


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(4, 14), min_size=1, max_size=3))
def test_all_windows_predict_each_training_event_once(write, lengths):
    events = [(f"u{n}", f"i{time:02}", time) for n, length in enumerate(lengths) for time in range(length)]
    out, manifest = write(events, length=3, windows="all")
    targets = [
        (row["user_id"][0], item)
        for row in read(out, "train")
        for item in [*row["history"][1:], *row["target"]]
    ]
    expected = [(f"u{n}", f"i{time:02}") for n, length in enumerate(lengths) for time in range(1, length - 2)]
    assert sorted(targets) == expected
    assert manifest["splits"]["train"]["targets"] == len(expected)


def test_a_split_without_training_rows_is_an_error(write):
    with pytest.raises(DataError, match="leaves no training row.*leave_one_out"):
        write([("a", "p", 1), ("a", "q", 2), ("a", "r", 3)])


def test_features_of_another_length_or_of_other_tables_are_refused(write, make_tables, tmp_path):
    out, _ = write(EVENTS)
    tables, features = tmp_path / "tables", tmp_path / "features"
    with pytest.raises(DataError, match=r"field 'history_length': .*history_length=3.*\(got 9\)"):
        examples.write(tables, features, out, ExampleConfig(), FeatureConfig(9))
    other = make_tables(EVENTS[1:], "other")
    with pytest.raises(DataError, match="built from other tables"):
        examples.write(other, features, out, ExampleConfig(), FeatureConfig(3))


def test_a_folder_that_is_not_whole_is_refused(write):
    out, manifest = write(EVENTS)
    shard = out / manifest["splits"]["train"]["shards"][0]["file"]
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    with pytest.raises(DataError, match="tfrecord: MANIFEST.json says"):
        examples.read_manifest(out)
    shard.write_bytes(data[:-1] + b"\0")
    examples.read_manifest(out)
    with pytest.raises(DataError, match="says sha256"):
        examples.read_manifest(out, hashes=True)
    (out / "MANIFEST.json").unlink()
    with pytest.raises(DataError, match="has no MANIFEST.json"):
        examples.read_manifest(out)


@pytest.fixture
def beauty(shared_data, make_features, tmp_path):
    """Tables of Amazon Beauty, without Beam."""
    import time

    import pyarrow as pa

    from feature_store.datasets import open_dataset
    from feature_store.row_checks import RawBatch
    from feature_store.table_folder import write_tables
    from feature_store.tables import CheckContext, check, finish

    dataset = open_dataset(DataConfig("amazon", str(shared_data / "amazon_beauty")))
    context = CheckContext(dataset.schema, int(time.time() * 1e6))

    def table(name: str) -> pa.Table:
        raws: list[RawBatch] = [raw for source in dataset.of(name) for raw in source.read()]
        rows, duplicates = finish(name, pa.Table.from_batches([check(raw, context)[0] for raw in raws]))
        assert duplicates == 0
        return rows

    tables = {name: [table(name)] for name in ("users", "items", "events")}
    write_tables(tmp_path / "tables", dataset.schema, tables, [], {}, {})
    return tmp_path / "tables", make_features(tmp_path / "tables", 50)


def test_beauty_has_its_published_leave_one_out_split(beauty, tmp_path, shared_data):
    import gzip

    config = ExampleConfig(windows="all")
    manifest = examples.write(*beauty, tmp_path / "examples", config, FeatureConfig())
    splits = manifest["splits"]
    assert (splits["valid"]["examples"], splits["test"]["examples"]) == (22_363, 22_363)
    assert splits["train"]["targets"] == 198_502 - 3 * 22_363
    with gzip.open(shared_data / "amazon_beauty" / "Beauty.txt.gz", "rt") as file:
        last = {user: items for user, *items in (line.split() for line in file)}
    for row in read(tmp_path / "examples", "test"):
        items = last[row["user_id"][0]]
        assert (row["target"][0], row["history"]) == (items[-1], items[-51:-1])


DAY = 86400 * 10**6


@pytest.mark.parametrize(
    ("settings", "ids", "left_out"),
    [
        ({}, ["p", "q", "r", "s"], {"rare": 0, "unseen": 0}),
        ({"min_count": 2}, ["p", "q", "s"], {"rare": 1, "unseen": 0}),
        ({"evict_days": 3.0}, ["q", "r", "s"], {"rare": 0, "unseen": 1}),
        ({"min_count": 2, "evict_days": 3.0}, ["q", "s"], {"rare": 1, "unseen": 1}),
    ],
)
def test_the_vocabulary_admits_by_frequency_and_evicts_by_time(write, settings, ids, left_out):
    pairs = [("a", "ppq"), ("b", "qrss")]
    times = {"a": (1, 2, 3), "b": (4, 5, 6, 7)}
    events = [(user, item, times[user][i] * DAY) for user, items in pairs for i, item in enumerate(items)]
    events += [("c", item, (8 + i) * DAY) for i, item in enumerate("rp")]  # validation and test, which do not count
    out, manifest = write(events, split="global_time", valid_quantile=0.8, test_quantile=0.95, **settings)
    assert [json.loads(line) for line in (out / "vocabulary" / "item.txt").open()] == ids
    assert pq.read_table(out / "items.parquet")["item_id"].to_pylist() == ids
    assert manifest["vocabulary"]["item"]["left_out"] == left_out


def test_a_vocabulary_without_items_is_refused(write):
    with pytest.raises(DataError, match="min_count.*admits none of"):
        write(EVENTS, min_count=99)
