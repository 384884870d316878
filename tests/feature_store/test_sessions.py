import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import intents, session_texts, sessions
from feature_store.chat_config import ChatConfig, WordsConfig
from feature_store.errors import DataError
from feature_store.row_checks import RawBatch
from feature_store.session_schema import BEHAVIOUR, INTENTS, SessionFeature, SessionSchema

SCHEMA = SessionSchema(
    (
        SessionFeature("entry", "Entry Point", kind="id", dictionary="entry"),
        SessionFeature("before", "Clicked Intents", BEHAVIOUR, "ids", INTENTS, group="clicks", length=4),
        SessionFeature("hours", "Hours", BEHAVIOUR, "numbers", unit="hours ago", group="clicks", length=4),
    ),
    {"entry": {1: "Home Page", 2: "Cart Page"}},
)
BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
CONFIG = ChatConfig(max_bad_share=0.9, test_days=1, valid_days=1)


def session(name: str, day: float, **changes: object) -> dict[str, object]:
    row = {"session_id": name, "user_id": "u", "session_time": BEGIN + timedelta(days=day), "shown": ["a", "b"],
           "clicked": ["b"], "intents": [], "entry": 1, "before": ["a"], "hours": [5.0]}  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def folder(tmp_path):
    """Base and schema; returns a function that writes a log and makes sessions of it."""
    batch = pa.record_batch({"intent_id": ["a", "b"], "title": ["A?", "B?"]})
    rows, _ = intents.checked([RawBatch("intents", batch, "", 0)], 3)
    intents.write(tmp_path / "base", rows, [], 0.0, {})
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA.to_json()))

    def make(log: list[dict[str, object]], config: ChatConfig = CONFIG) -> dict:
        pq.write_table(pa.Table.from_pylist(log), tmp_path / "own.parquet")
        paths = [tmp_path / name for name in ("own.parquet", "schema.json", "base", "out")]
        return sessions.run(*paths, config)

    make.folder = tmp_path
    return make


def test_sessions_are_split_by_days_in_the_order_of_time(folder):
    summary = folder([
        session("s4", 3, clicked=[], intents=["a"]), session("s3", 2), session("s1", 0), session("s2", 1, clicked=[]),
        session("s1", 1),
    ])  # fmt: skip
    rows = pq.read_table(folder.folder / "out" / "sessions.parquet")
    assert rows.select(["session_id", "split"]).to_pylist() == [
        {"session_id": "s1", "split": "train"}, {"session_id": "s2", "split": "train"},
        {"session_id": "s3", "split": "valid"}, {"session_id": "s4", "split": "test"},
    ]  # fmt: skip
    assert summary["splits"] == {"test": 1, "train": 2, "valid": 1}
    assert summary["labelled"] == {"test": 1, "train": 1, "valid": 1}
    assert summary["duplicates"] == 1
    assert sessions.schema_of(folder.folder / "out") == SCHEMA
    assert not (folder.folder / "out" / "staged.parquet").exists()


def test_each_kind_of_bad_row_is_a_dead_letter_with_its_reason(folder):
    good = [session("s1", 0), session("s4", 3, intents=["a"])]
    bad = [
        session("", 0), session("x", 0, shown=["a", "zebra"]), session("x", 0, intents=["zebra"]),
        session("x", 0, clicked=["a"], shown=["b"]), session("x", 0, entry=3), session("x", 0, hours=[1.0, 2.0]),
        session("x", 36500), session("x", 0, session_time=None),
    ]  # fmt: skip
    summary = folder(good + bad)
    assert summary["dead_letters"] == {
        "missing session_id": 1, "unknown intent in shown": 1, "unknown intent in intents": 1,
        "clicked what was not shown": 1, "unknown id in entry": 1, "lists of the group clicks differ in length": 1,
        "time in the future in session_time": 1, "missing session_time": 1,
    }  # fmt: skip
    letters = (folder.folder / "out" / "dead_letter" / "sessions.jsonl").read_text().splitlines()
    assert Counter(json.loads(line)["reason"] for line in letters) == Counter(summary["dead_letters"])
    assert sum(summary["splits"].values()) == 2


def test_a_log_that_is_too_bad_or_too_short_leaves_nothing(folder):
    with pytest.raises(DataError, match="2 of 3 rows are bad, more than max_bad_share=0.5 allows"):
        folder([session("s1", 0), session("", 0), session("", 0)], ChatConfig(**{**vars(CONFIG), "max_bad_share": 0.5}))
    with pytest.raises(DataError, match="field 'train': has no session"):
        folder([session("s1", 0, intents=["a"])])
    assert not (folder.folder / "out").exists()


def test_sessions_in_words_carry_what_labels_them(folder):
    folder([session("s1", 0), session("s2", 1, clicked=[]), session("s4", 3, intents=["a", "b"])])
    rows = session_texts.table(folder.folder / "out", folder.folder / "base", WordsConfig(features=("entry",)))
    assert rows.to_pylist() == [
        {"session_id": "s1", "split": "train", "text": "Context: Entry Point: Home Page", "intents": ["b"]},
        {"session_id": "s2", "split": "train", "text": "Context: Entry Point: Home Page", "intents": []},
        {"session_id": "s4", "split": "test", "text": "Context: Entry Point: Home Page", "intents": ["a", "b"]},
    ]
    assert session_texts.statistics(rows) == {"mean": 31.0, "longest": 31}
    whole = session_texts.table(folder.folder / "out", folder.folder / "base", WordsConfig())
    assert whole["text"][0].as_py().startswith("Behaviour: Clicked Intents: ('A?' (5 hours ago))\n")
