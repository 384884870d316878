import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import cross_fit, folders, intents, requests, session_requests, sessions
from feature_store.chat_config import ChatConfig
from feature_store.errors import DataError
from feature_store.request_schema import from_json
from feature_store.session_schema import BEHAVIOUR, INTENTS, PROFILE, SessionFeature, SessionSchema

SCHEMA = SessionSchema(
    (
        SessionFeature("entry", "Entry Point", kind="id", dictionary="entry"),
        SessionFeature("days", "Days", PROFILE, log=True),
        SessionFeature("said", "Said", BEHAVIOUR, "text"),
        SessionFeature("nothing", "Nothing", BEHAVIOUR, "text"),
        SessionFeature("before", "Clicked Intents", BEHAVIOUR, "ids", INTENTS, group="clicks", length=2),
        SessionFeature("hours", "Hours", BEHAVIOUR, "numbers", group="clicks", length=2),
    ),
    {"entry": {1: "Home Page", 2: "Cart Page"}},
)
CONFIG = ChatConfig(test_days=1, valid_days=1, shards=1)


def vectors(folder, kind, key, rows):
    with folders.new_folder(folder) as scratch:
        table = pa.table({key: list(rows), "vector": pa.array(list(rows.values()), pa.list_(pa.float32()))})
        pq.write_table(table, scratch / "a.parquet")
        files = [folders.describe(scratch / "a.parquet", scratch)]
        told = {"kind": kind, "width": 2, "model_id": "m", "adapter_version": "base", "files": files}
        folders.write_manifest(scratch, told)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twelve sessions to train on, of which the third has no click, one to validate and one to test."""
    folder = tmp_path_factory.mktemp("chat")
    rows = [{"intent_id": name, "title": name, "description": "", "examples": [], "category": "x"} for name in "abc"]
    intents.write(folder / "base", pa.Table.from_pylist(rows, intents.SCHEMA), [], 0.0, {})
    (folder / "schema.json").write_text(json.dumps(SCHEMA.to_json()))
    log = []
    for number in range(14):
        day = number / 12 if number < 12 else number - 10  # 0 to 0.92, 2, 3
        clicked = [] if number == 2 else ["b"]
        log.append({"session_id": f"s{number}", "user_id": f"u{number % 3}", "shown": ["c", "b"], "clicked": clicked,
                    "session_time": datetime(2026, 3, 2, tzinfo=UTC) + timedelta(days=day), "intents": [],
                    "entry": 1 + number % 2, "days": None if number == 1 else float(number), "said": f"words {number}",
                    "nothing": "", "before": ["a", "b", "c"], "hours": [9.0, 5.0, 1.0]})  # fmt: skip
    log[13]["intents"] = ["a", "c"]
    pq.write_table(pa.Table.from_pylist(log), folder / "log.parquet")
    sessions.run(*(folder / name for name in ("log.parquet", "schema.json", "base", "sessions")), CONFIG)
    return folder


def written(made, out, **changes):
    config = ChatConfig(**{**vars(CONFIG), **changes.pop("config", {})})
    return session_requests.write(made / "sessions", made / "base", out, config, **changes)


def test_a_session_with_a_label_is_a_request(made, tmp_path):
    manifest = written(made, tmp_path / "r")
    counts = {split: told["examples"] for split, told in manifest["splits"].items()}
    assert counts == {"train": 11, "valid": 1, "test": 1}
    assert (manifest["every_item"], manifest["slate"]) == (True, 3)
    test = requests.read_rows(tmp_path / "r", "test", ["request_id", "candidates", "labels", "before", "days"])
    assert test.to_pylist() == [
        {"request_id": "s13", "candidates": ["a", "c"], "labels": [1.0, 1.0], "before": ["b", "c"], "days": 13.0}
    ]
    train = requests.read_rows(tmp_path / "r", "train", ["request_id", "candidates", "user_id"]).to_pylist()
    assert {row["request_id"] for row in train} == {f"s{n}" for n in range(12) if n != 2}
    assert all(row["candidates"] == ["b"] for row in train)


def test_features_are_the_sessions_but_those_that_are_always_empty(made, tmp_path):
    manifest = written(made, tmp_path / "r")
    features = {feature.name: feature for feature in from_json(manifest["features"])}
    assert list(features) == ["entry", "days", "said", "before", "hours", "intent_category"]
    assert manifest["left_out_features"] == ["nothing"]
    assert manifest["coupled"] == {"clicks": ["before", "hours"]}
    assert (features["before"].vocabulary, features["before"].length) == ("item", 2)
    assert features["said"].hash_buckets == CONFIG.text_buckets
    assert (features["days"].side, features["entry"].side) == ("user", "context")


def test_the_slate_alone_may_be_what_training_chooses_from(made, tmp_path):
    written(made, tmp_path / "r", config={"candidates": "shown"})
    train = requests.read_rows(tmp_path / "r", "train", ["candidates", "labels"]).to_pylist()
    assert all(row == {"candidates": ["c", "b"], "labels": [0.0, 1.0]} for row in train)
    test = requests.read_rows(tmp_path / "r", "test", ["candidates", "labels"]).to_pylist()
    assert test == [{"candidates": ["a", "b", "c"], "labels": [1.0, 0.0, 1.0]}]


def test_a_fold_is_left_out_of_training_and_is_the_test_by_its_clicks(made, tmp_path):
    manifest = written(made, tmp_path / "r", folds=3, left_out=1)
    found = {split: {row["request_id"] for row in requests.read_rows(tmp_path / "r", split, ["request_id"]).to_pylist()}
             for split in ("train", "test")}  # fmt: skip
    mine = {f"s{n}" for n in range(12) if n != 2}
    assert found["test"] == {name for name in mine if cross_fit.fold_of(name, 3) == 1}
    assert found["train"] == mine - found["test"]
    assert (manifest["folds"], manifest["left_out"]) == (3, 1)


def test_queries_and_texts_come_along_with_their_statistics(made, tmp_path):
    text = vectors(tmp_path / "text", "intent_text", "intent_id", {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 1.0]})
    told = {f"s{n}": [float(n), 1.0] for n in range(14) if n != 5}
    queries = vectors(tmp_path / "queries", "query_vectors", "session_id", told)
    manifest = written(made, tmp_path / "r", intent_text=text, queries=queries)
    seen = np.array([told[f"s{n}"] for n in range(12) if n != 5])
    np.testing.assert_allclose(manifest["query"]["mean"], seen.mean(0))
    np.testing.assert_allclose(manifest["query"]["deviation"], [seen[:, 0].std(), 1.0])
    train = requests.read_rows(tmp_path / "r", "train", ["request_id", "query"]).to_pylist()
    by_name = {row["request_id"]: row["query"] for row in train}
    assert by_name["s4"] == [4.0, 1.0]
    assert np.isnan(by_name["s5"]).all()
    items = pq.read_table(tmp_path / "r" / "items.parquet").to_pylist()
    assert items[1]["intent_text"] == [0.0, 1.0]
    missing = vectors(tmp_path / "few", "intent_text", "intent_id", {"a": [1.0, 0.0]})
    with pytest.raises(DataError, match="has no vector of this intent's text .got 'b'"):
        written(made, tmp_path / "s", intent_text=missing)
