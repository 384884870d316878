import pyarrow as pa
import pytest

from feature_store.errors import DataError
from feature_store.schema import Field, Schema


def test_tables_have_the_contract_columns():
    schema = Schema(user_attributes=(Field("age", "int64"),))
    assert schema.table("users").arrow() == pa.schema([("user_id", pa.string()), ("age", pa.int64())])
    assert schema.table("events").arrow().names == [
        "user_id",
        "item_id",
        "event_time",
        "event_type",
        "value",
        "created_time",
    ]
    assert schema.table("events").arrow().field("event_time").type == pa.timestamp("us", tz="UTC")


def test_a_schema_survives_the_manifest():
    attributes = (Field("age", "int64"), Field("country", default="unknown"))
    schema = Schema(attributes, (Field("price", "float32"),), history_length=7, text_width=3)
    assert Schema.from_json(schema.to_json(), 7, 3) == schema


def test_views_carry_defaults_and_item_text_only_with_a_width():
    schema = Schema(user_attributes=(Field("age", "int64"),))
    assert [view.name for view in schema.views()] == ["user_profile", "user_history", "item_profile"]
    assert schema.view("user_history").defaults() == {"history": [], "event_count": 0}
    assert Schema(text_width=2).view("item_text").defaults() == {"vector": [0.0, 0.0]}


def test_held_out_examples_also_carry_what_was_seen():
    names = [field.name for field in Schema(user_attributes=(Field("age", "int64"),)).example("test")]
    assert names == ["user_id", "history", "target", "label_time", "event_count", "age", "seen"]
    assert "seen" not in [field.name for field in Schema().example("train")]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Field("a", "int16"), "dtype is one of"),
        (lambda: Field("a", vocabulary="item", hash_buckets=8), "not both"),
        (lambda: Schema(user_attributes=(Field("user_id"),)), "name of a fixed column"),
        (lambda: Schema(user_attributes=(Field("a"), Field("a"))), "distinct names"),
        (lambda: Schema(item_attributes=(Field("tags", shape=(None,)),)), "is one string"),
        (lambda: Schema().table("orders"), "got 'orders'"),
        (lambda: Schema().view("item_text"), "got 'item_text'"),
    ],
)
def test_errors_name_the_rule_and_the_value(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_optional_tables_are_those_a_data_set_has():
    schema = Schema(impression_context=(Field("position", "int64"),), optional=("impressions",))
    assert [table.name for table in schema.tables()] == ["users", "items", "events", "impressions"]
    assert schema.table("impressions").arrow().names[-3:] == ["clicked", "converted", "position"]
    assert Schema.from_json(schema.to_json()) == schema
    assert "optional" not in Schema().to_json()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Schema(optional=("orders",)), "got 'orders'"),
        (lambda: Schema(impression_context=(Field("clicked", "int64"),)), "name of a fixed column"),
        (lambda: Schema((Field("age"),), impression_context=(Field("age"),)), "name of an attribute"),
        (lambda: Schema((Field("flag", "int8"),)), "one string, int64 or float32"),
    ],
)
def test_context_columns_keep_to_their_own_names(make, message):
    with pytest.raises(DataError, match=message):
        make()
