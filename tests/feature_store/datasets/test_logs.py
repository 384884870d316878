import gzip
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.config import DataConfig
from feature_store.datasets import open_dataset
from feature_store.errors import DataError
from feature_store.schema import Field

EVENTS = "user_id,item_id,event_time\na,x,1\nb,y,2\n"


def config(folder, **settings):
    return DataConfig("tables", str(folder), **{"events": "events.csv", **settings})


def raws(folder, table="events", **settings):
    dataset = open_dataset(config(folder, **settings))
    return [raw for source in dataset.of(table) for raw in pickle.loads(pickle.dumps(source)).read()]


def test_one_file_of_events_is_enough(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    (raw,) = raws(tmp_path)
    assert raw.batch.to_pylist()[1] == {"user_id": "b", "item_id": "y", "event_time": "2"}
    assert open_dataset(config(tmp_path)).of("users") == ()


def test_columns_are_mapped_to_ours(tmp_path):
    (tmp_path / "events.csv").write_text("when,who,what,colour\n1,a,x,red\n")
    columns = {"events": {"user_id": "who", "item_id": "what", "event_time": "when"}}
    (raw,) = raws(tmp_path, columns=columns)
    assert raw.batch.to_pylist() == [{"user_id": "a", "item_id": "x", "event_time": "1"}]


def test_many_files_keep_the_order_of_their_names(tmp_path):
    for day in (2, 1):
        with gzip.open(tmp_path / f"day{day}.csv.gz", "wt") as file:
            file.write(f"user_id,item_id,event_time\na,x{day},5\n")
    found = raws(tmp_path, events="day*.csv.gz")
    assert [(raw.source_number, raw.batch["item_id"].to_pylist()) for raw in found] == [
        (0, ["x1"]),
        (1, ["x2"]),
    ]


def test_further_columns_of_users_and_items_become_attributes(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "users.csv").write_text("user_id,age,score,city\na,3,0.5,Rome\n")
    pq.write_table(pa.table({"item_id": [1], "price": [2.5], "name": ["A"]}), tmp_path / "items.parquet")
    columns = {"items": {"title": "name", "price": "price"}}
    dataset = open_dataset(config(tmp_path, users="users.csv", items="items.parquet", columns=columns))
    assert dataset.schema.user_attributes == (Field("age", "int64"), Field("score", "float32"), Field("city"))
    assert dataset.schema.item_attributes == (Field("price", "float32"),)


def test_a_mapped_attribute_may_carry_its_type(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "users.csv").write_text("id,plz\na,01234\n")
    columns = {"users": {"user_id": "id", "zip:string": "plz"}}
    (raw,) = raws(tmp_path, "users", users="users.csv", columns=columns)
    assert raw.batch.to_pylist() == [{"user_id": "a", "zip": "01234"}]
    dataset = open_dataset(config(tmp_path, users="users.csv", columns=columns))
    assert dataset.schema.user_attributes == (Field("zip"),)


def test_quoted_newlines_are_part_of_the_id(tmp_path):
    (tmp_path / "events.csv").write_text('user_id,item_id,event_time\n"a\nb","x, ""y""",1\n')
    (raw,) = raws(tmp_path)
    assert raw.batch.to_pylist() == [{"user_id": "a\nb", "item_id": 'x, "y"', "event_time": "1"}]


def test_a_line_with_too_many_columns_is_a_dead_letter(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS + "a,x,3,4\na,z,4\n")
    found = raws(tmp_path)
    assert sum(raw.batch.num_rows for raw in found) == 3
    (letter,) = [letter for raw in found for letter in raw.dead_letters]
    assert (letter.reason, letter.record) == ("4 columns, the header has 3", '"a,x,3,4"')


@pytest.mark.parametrize(
    "text, message",
    [
        ("user_id,item_id\na,x\n", "field 'event_time': the file has no such column; map it"),
        ("user_id,item_id,event_time\n", "events.csv: the file has no rows"),
        ("", "events.csv: cannot be read as delimited text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, message):
    (tmp_path / "events.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(config(tmp_path))


def test_a_mapped_column_that_is_not_there_is_named(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    with pytest.raises(DataError, match="field 'who': the file has no such column"):
        open_dataset(config(tmp_path, columns={"events": {"user_id": "who"}}))


def test_no_matching_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no file matches .*events\*\.parquet"):
        open_dataset(config(tmp_path, events="events*.parquet"))


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table({"user_id": ["a"], "item_id": ["x"], "event_time": [1]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="events.parquet: not a whole Parquet file"):
        open_dataset(config(tmp_path, events="events.parquet"))


def test_an_empty_parquet_file_is_named(tmp_path):
    empty = pa.table({name: pa.array([], pa.string()) for name in ("user_id", "item_id", "event_time")})
    pq.write_table(empty, tmp_path / "events.parquet")
    with pytest.raises(DataError, match="events.parquet: the file has no rows"):
        open_dataset(config(tmp_path, events="events.parquet"))


def test_a_truncated_gzip_file_is_named(tmp_path):
    path = tmp_path / "events.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write(EVENTS * 1000)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="events.csv.gz: cannot be read"):
        raws(tmp_path, events="events.csv.gz")


def test_files_of_one_table_must_agree_on_attributes(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "users1.csv").write_text("user_id,age\na,1\n")
    (tmp_path / "users2.csv").write_text("user_id,city\na,Rome\n")
    with pytest.raises(DataError, match=r"users2.csv, field 'users': .* same attributes.*city:string"):
        open_dataset(config(tmp_path, users="users*.csv"))


def test_an_attribute_that_is_a_list_is_refused(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    pq.write_table(pa.table({"user_id": ["a"], "tags": [["x"]]}), tmp_path / "users.parquet")
    with pytest.raises(DataError, match="field 'tags': an attribute is one value"):
        open_dataset(config(tmp_path, users="users.parquet"))
