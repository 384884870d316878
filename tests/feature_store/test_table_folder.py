import json
from collections import Counter

import pyarrow as pa
import pytest

from feature_store.errors import DataError
from feature_store.row_checks import DeadLetter
from feature_store.schema import Field, Schema
from feature_store.table_folder import read_manifest, read_schema, read_table, write_tables
from feature_store.tables import entities

EVENTS = [("a", "x", 1), ("a", "y", 2), ("b", "x", 1)]


def test_a_folder_reads_back(make_tables):
    tables = make_tables(EVENTS)
    manifest = read_manifest(tables)
    assert {name: entry["rows"] for name, entry in manifest["tables"].items()} == {
        "users": 2,
        "items": 2,
        "events": 3,
    }
    assert manifest["window"] == {"first": 1, "last": 2}
    assert read_schema(tables, history_length=5) == Schema((Field("age", "int64"),), history_length=5)
    assert read_table(tables, "events", ["item_id"])["item_id"].to_pylist() == ["x", "y", "x"]


def test_a_folder_without_a_manifest_is_refused(make_tables):
    tables = make_tables(EVENTS)
    (tables / "MANIFEST.json").unlink()
    with pytest.raises(DataError, match="has no MANIFEST.json"):
        read_manifest(tables)


def test_a_truncated_file_is_refused(make_tables):
    tables = make_tables(EVENTS)
    path = tables / "events.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="events.parquet: MANIFEST.json says .* bytes"):
        read_manifest(tables, hashes=False)


def test_a_changed_file_is_refused(make_tables):
    tables = make_tables(EVENTS)
    path = tables / "events.parquet"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(bytes(data))
    read_manifest(tables, hashes=False)
    with pytest.raises(DataError, match="events.parquet: MANIFEST.json says sha256"):
        read_manifest(tables)


def test_a_missing_file_is_refused(make_tables):
    tables = make_tables(EVENTS)
    (tables / "items.parquet").unlink()
    with pytest.raises(DataError, match="items.parquet: named in MANIFEST.json but not there"):
        read_manifest(tables)


def test_another_kind_of_folder_is_refused(tmp_path):
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"kind": "examples"}))
    with pytest.raises(DataError, match="not a folder of tables"):
        read_manifest(tmp_path)


def _pieces(times):
    schema = Schema()
    moment = pa.array(times, pa.timestamp("us", tz="UTC"))
    events = {
        "user_id": ["a"] * len(times),
        "item_id": ["x"] * len(times),
        "event_time": moment,
        "event_type": ["t"] * len(times),
        "value": pa.array([1.0] * len(times), pa.float32()),
        "created_time": moment,
    }
    ids = {name: [entities(schema, name, pa.array([one]))] for name, one in (("users", "a"), ("items", "x"))}
    return schema, {
        **ids,
        "events": [pa.table({k: v[i : i + 1] for k, v in events.items()}) for i in range(len(times))],
    }


def test_dead_letters_lie_beside_the_tables_and_are_counted(tmp_path):
    schema, pieces = _pieces([1, 2])
    letters = [DeadLetter("events", "log.csv", 3, "unknown item", '{"item_id": "a\\nb"}')] * 2
    manifest = write_tables(tmp_path / "tables", schema, pieces, letters, {}, {})
    lines = (tmp_path / "tables" / "dead_letter" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [3, 3]
    assert manifest["tables"]["events"]["dead_letters"] == Counter({"unknown item": 2})


def test_unsorted_events_leave_nothing_behind_and_the_old_folder_alone(tmp_path):
    schema, pieces = _pieces([1, 2])
    write_tables(tmp_path / "tables", schema, pieces, [], {}, {"run": 1})
    _, wrong = _pieces([2, 2])
    with pytest.raises(DataError, match="sorted by"):
        write_tables(tmp_path / "tables", schema, wrong, [], {}, {"run": 2})
    assert read_manifest(tmp_path / "tables")["source"] == {"run": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_another_column_is_refused(tmp_path):
    schema, pieces = _pieces([1])
    pieces["users"] = [pa.table({"user_id": ["a"], "age": [1]})]
    with pytest.raises(DataError, match="the table's columns are"):
        write_tables(tmp_path / "tables", schema, pieces, [], {}, {})
