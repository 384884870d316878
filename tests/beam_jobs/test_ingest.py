import json
import os
import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.ingest import run
from beam_jobs.options import BeamConfig
from feature_store.config import DataConfig
from feature_store.errors import DataError
from feature_store.table_folder import read_manifest, read_schema

EVENTS = [  # user, item, seconds
    ("u1", "i1", "100"),
    ("u1", "i2", "100"),  # a tie: moved by a microsecond
    ("u2", "i1", "50"),
    ("u1", "i1", "90"),
    ("u2", "i1", "50"),  # a duplicate
    ("new\nline", "i3", "70"),
]
BAD = [
    ("", "i1", "10", "missing user_id"),
    ("u1", "i1", "yesterday", "unparsable time in event_time"),
    ("u1", "i9", "10", "unknown item"),
    ("u9", "i1", "10", "unknown user"),
    ("u1", "i1", "99999999999", "time in the future in event_time"),
]


def write(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(columns)] + [",".join(f'"{cell}"' for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def logs(tmp_path):
    """A folder of logs: two users and one with a newline in its id, three items, events as given."""
    folder = tmp_path / "logs"
    write(folder / "users.csv", ["user_id", "age"], [("u1", 30), ("u2", 40), ("new\nline", 50)])
    write(folder / "items.csv", ["item_id", "title"], [("i3", "C"), ("i1", "A"), ("i2", "B")])
    write(folder / "events.csv", ["user_id", "item_id", "event_time"], EVENTS)
    return folder


def config(folder, **changes):
    data = DataConfig("tables", str(folder), "users.csv", "items.csv", "events*.csv", max_bad_share=0.0)
    return replace(data, **changes)


def events(out):
    rows = pq.read_table(out / "events.parquet").to_pylist()
    return [(row["user_id"], row["item_id"], row["event_time"].timestamp()) for row in rows]


def test_tables_are_typed_sorted_and_without_duplicates(logs, tmp_path):
    out = tmp_path / "tables"
    summary = run(config(logs), out, BeamConfig())
    assert events(out) == [
        ("new\nline", "i3", 70),
        ("u1", "i1", 90),
        ("u1", "i1", 100),
        ("u1", "i2", 100.000001),
        ("u2", "i1", 50),
    ]
    assert pq.read_table(out / "items.parquet")["item_id"].to_pylist() == ["i1", "i2", "i3"]
    assert pq.read_schema(out / "events.parquet").field("event_time").type == pa.timestamp("us", tz="UTC")
    assert summary["rows"] == {"users": 3, "items": 3, "events": 5}
    assert summary["duplicates"] == {"users": 0, "items": 0, "events": 1}
    assert read_manifest(out)["window"] == {"first": 50_000_000, "last": 100_000_001}
    assert json.loads(json.dumps(summary)) == summary
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "tables"]


def test_neither_arrival_nor_shards_show_in_the_tables(logs, tmp_path):
    rows = [(f"u{random.Random(n).randint(1, 2)}", f"i{n % 3 + 1}", str(n)) for n in range(200)]
    write(logs / "events.csv", ["user_id", "item_id", "event_time"], rows)
    run(config(logs), tmp_path / "one", BeamConfig(shards=1))
    random.Random(1).shuffle(rows)
    os.remove(logs / "events.csv")
    write(logs / "events1.csv", ["user_id", "item_id", "event_time"], rows[:50])
    write(logs / "events2.csv", ["user_id", "item_id", "event_time"], rows[50:])
    run(config(logs), tmp_path / "five", BeamConfig(shards=5))
    for name in ("users", "items", "events"):
        one, five = ((tmp_path / n / f"{name}.parquet").read_bytes() for n in ("one", "five"))
        assert one == five


def test_bad_rows_become_dead_letters_with_their_reason(logs, tmp_path):
    rows = [*EVENTS, *(row[:3] for row in BAD)]
    write(logs / "events.csv", ["user_id", "item_id", "event_time"], rows)
    out = tmp_path / "tables"
    summary = run(config(logs, max_bad_share=0.5), out, BeamConfig())
    assert summary["dead_letters"]["events"] == {row[3]: 1 for row in BAD}
    letters = [json.loads(line) for line in (out / "dead_letter" / "events.jsonl").open()]
    assert [(letter["row"], letter["reason"]) for letter in letters] == [
        (6 + number, row[3]) for number, row in enumerate(BAD)
    ]
    assert len(events(out)) == 5


def test_too_many_bad_rows_fail_before_anything_is_written(logs, tmp_path):
    write(logs / "events.csv", ["user_id", "item_id", "event_time"], [*EVENTS, BAD[2][:3]])
    out = tmp_path / "tables"
    with pytest.raises(DataError, match=r"1 of 7 rows are bad, more than max_bad_share=0.1.*tables.rejected"):
        run(config(logs, max_bad_share=0.1), out, BeamConfig())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "tables.rejected"]
    (letter,) = (tmp_path / "tables.rejected" / "dead_letter" / "events.jsonl").read_text().splitlines()
    assert json.loads(letter)["reason"] == "unknown item"
    run(config(logs, max_bad_share=0.2), out, BeamConfig())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "tables"]


def test_a_failed_run_leaves_the_older_tables(logs, tmp_path):
    out = tmp_path / "tables"
    run(config(logs), out, BeamConfig())
    before = events(out)
    write(logs / "events.csv", ["user_id", "item_id", "event_time"], [("u1", "i9", "1")])
    with pytest.raises(DataError):
        run(config(logs), out, BeamConfig())
    assert events(out) == before
    read_manifest(out)


def test_without_users_and_items_their_ids_are_those_of_the_events(logs, tmp_path):
    out = tmp_path / "tables"
    summary = run(config(logs, users="", items=""), out, BeamConfig())
    assert pq.read_table(out / "users.parquet")["user_id"].to_pylist() == ["new\nline", "u1", "u2"]
    assert pq.read_table(out / "items.parquet").to_pylist()[0] == {
        "item_id": "i1",
        "title": "",
        "categories": [],
    }
    assert summary["rows"] == {"users": 3, "items": 3, "events": 5}


def test_a_file_that_breaks_off_is_named(logs, tmp_path):
    rows = pa.table({"user_id": ["u1"] * 9, "item_id": ["i1"] * 9, "event_time": list(range(9))})
    pq.write_table(rows, logs / "events.parquet")
    whole = (logs / "events.parquet").read_bytes()
    (logs / "events.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"events.parquet: not a whole Parquet file"):
        run(config(logs, events="events.parquet"), tmp_path / "tables", BeamConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_damage_found_while_reading_is_named(logs, tmp_path):
    size = 40_000
    rows = pa.table({"user_id": ["u1"] * size, "item_id": ["i1"] * size, "event_time": list(range(size))})
    pq.write_table(rows, logs / "events.parquet", compression="none", use_dictionary=False)
    data = bytearray((logs / "events.parquet").read_bytes())
    data[4:4000] = bytes(3996)
    (logs / "events.parquet").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"events.parquet"):
        run(config(logs, events="events.parquet"), tmp_path / "tables", BeamConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_dask_gives_the_same_tables(logs, tmp_path):
    pytest.importorskip("dask.distributed")
    rows = [*EVENTS, BAD[3][:3]]
    write(logs / "events.csv", ["user_id", "item_id", "event_time"], rows)
    data = config(logs, max_bad_share=0.5)
    local = run(data, tmp_path / "local", BeamConfig())
    dask = run(data, tmp_path / "dask", BeamConfig("DaskRunner"))
    assert local.pop("seconds") and dask.pop("seconds")
    assert local == dask
    for name in ("users.parquet", "items.parquet", "events.parquet", "dead_letter/events.jsonl"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "dask" / name).read_bytes()


def test_impressions_and_searches_are_checked_and_written_where_they_are_given(logs, tmp_path):
    shown = ["impression_id", "user_id", "item_id", "event_time", "clicked", "converted", "place"]
    rows = [
        ("a", "u2", "i1", "60", "1", "1", "3"),
        ("b", "u1", "i2", "80", "0", "0", "1"),
        ("c", "u1", "i1", "70", "1", "0", ""),
        ("c", "u1", "i1", "70", "1", "0", ""),
        ("d", "u9", "i1", "70", "1", "0", "2"),
        ("e", "u1", "i1", "70", "0", "1", "2"),
    ]
    write(logs / "shown.csv", shown, rows)
    write(logs / "sought.csv", ["user_id", "query", "event_time"], [("u2", "tea", "9"), ("u1", "", "8")])
    data = config(logs, impressions="shown.csv", searches="sought.csv", max_bad_share=0.5)
    data = replace(data, columns={"impressions": {"place:int64": "place"}})
    out = tmp_path / "tables"
    summary = run(data, out, BeamConfig())
    assert summary["rows"] == {"users": 3, "items": 3, "events": 5, "impressions": 3, "searches": 1}
    assert summary["duplicates"]["impressions"] == 1
    assert summary["dead_letters"]["impressions"] == {"unknown user": 1, "converted without a click": 1}
    assert summary["dead_letters"]["searches"] == {"missing query": 1}
    found = pq.read_table(out / "impressions.parquet")
    assert found["impression_id"].to_pylist() == ["c", "b", "a"]  # by user and time
    assert found["place"].to_pylist() == [None, 1, 3]
    assert found.schema.field("clicked").type == pa.int8()
    assert pq.read_table(out / "searches.parquet")["query"].to_pylist() == ["tea"]
    assert read_schema(out).optional == ("impressions", "searches")


def test_users_without_a_table_are_those_of_all_that_was_done(logs, tmp_path):
    write(logs / "sought.csv", ["user_id", "query", "event_time"], [("only searched", "tea", "9")])
    run(config(logs, users="", searches="sought.csv"), tmp_path / "tables", BeamConfig())
    users = pq.read_table(tmp_path / "tables" / "users.parquet")["user_id"].to_pylist()
    assert users == ["new\nline", "only searched", "u1", "u2"]
