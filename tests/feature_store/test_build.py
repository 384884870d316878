import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_store import build, folders
from feature_store.errors import DataError
from feature_store.schema import Schema

EVENTS = [("a", "x", 1), ("a", "y", 3), ("a", "x", 5), ("b", "z", 4)]


def read(features, view):
    rows = pq.read_table(features / f"{view}.parquet").to_pylist()
    return [{name: value for name, value in row.items() if not name.endswith("_time")} for row in rows]


def test_history_after_each_event_is_the_newest_items_oldest_first(make_tables, make_features):
    features = make_features(make_tables(EVENTS), 2)
    assert read(features, "user_history") == [
        {"user_id": "a", "history": ["x"], "event_count": 1},
        {"user_id": "a", "history": ["x", "y"], "event_count": 2},
        {"user_id": "a", "history": ["y", "x"], "event_count": 3},
        {"user_id": "b", "history": ["z"], "event_count": 1},
    ]
    manifest, schema = build.read_features(features, hashes=True)
    assert {name: view["rows"] for name, view in manifest["views"].items()} == {
        "user_profile": 2,
        "user_history": 4,
        "item_profile": 3,
    }
    assert (schema.history_length, schema.text_width) == (2, 0)
    for view in schema.views():
        assert pq.read_schema(features / f"{view.name}.parquet").equals(view.arrow())


def test_profiles_hold_from_the_first_event_on(make_tables, make_features):
    features = make_features(make_tables(EVENTS), 2)
    profile = pq.read_table(features / "user_profile.parquet")
    assert profile["event_time"].cast(pa.int64()).to_pylist() == [1, 4]
    assert profile["age"].to_pylist() == [1, 1]
    assert read(features, "item_profile")[0] == {"item_id": "x", "title": "", "categories": []}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("vwxyz")), min_size=1, max_size=40),
    st.integers(2, 4),
    st.integers(1, 7),
)
def test_history_does_not_depend_on_the_size_of_the_pieces_read(tmp_path, monkeypatch, rows, length, piece):
    rows = sorted(rows, key=lambda row: row[0])
    moment = pa.array(range(len(rows)), pa.timestamp("us", tz="UTC"))
    users, items = map(list, zip(*rows, strict=True))
    table = {"user_id": users, "item_id": items, "event_time": moment, "created_time": moment}
    pq.write_table(pa.table(table), tmp_path / "events.parquet")
    monkeypatch.setattr(build, "_CHUNK_EVENTS", piece)
    view = Schema(history_length=length).view("user_history")
    found = [
        row
        for part in build.user_history(tmp_path / "events.parquet", view, length)
        for row in part.to_pylist()
    ]
    assert len(found) == len(rows)
    for at, row in enumerate(found):
        mine = [item for user, item in rows[: at + 1] if user == users[at]]
        assert (row["history"], row["event_count"]) == (mine[-length:], len(mine))


def test_latest_gives_one_row_a_key(make_tables, make_features):
    features = make_features(make_tables(EVENTS), 2)
    view = Schema(history_length=2).view("user_history")
    rows = [row for part in build.latest(features / "user_history.parquet", view) for row in part.to_pylist()]
    assert {row["user_id"]: row["event_count"] for row in rows} == {"a": 3, "b": 1}


def write_vectors(folder, vectors):
    with folders.new_folder(folder) as new:
        ids = [f"i{n}" for n in range(len(vectors))]
        vectors = pa.array(vectors, pa.list_(pa.float32()))
        pq.write_table(pa.table({"item_id": ids, "vector": vectors}), new / "part.parquet")
        folders.write_manifest(new, {"files": [folders.describe(new / "part.parquet", new)]})
    return folder


def test_item_text_takes_its_width_from_the_vectors(make_tables, tmp_path):
    knowledge = write_vectors(tmp_path / "item_text", [[1.0, 2.0, 3.0]])
    with folders.new_folder(tmp_path / "features") as folder:
        folders.write_manifest(folder, build.write_views(make_tables(EVENTS), knowledge, folder, 5))
    assert build.read_features(tmp_path / "features")[1].text_width == 3
    assert read(tmp_path / "features", "item_text") == [{"item_id": "i0", "vector": [1.0, 2.0, 3.0]}]


def test_vectors_of_two_widths_are_refused(make_tables, tmp_path):
    knowledge = write_vectors(tmp_path / "item_text", [[1.0], [1.0, 2.0]])
    with pytest.raises(DataError, match="field 'vector': all vectors have one width"):
        build.write_views(make_tables(EVENTS), knowledge, tmp_path, 5)


def test_another_kind_of_folder_is_refused(make_tables):
    with pytest.raises(DataError, match="not a folder of features"):
        build.read_features(make_tables(EVENTS))
