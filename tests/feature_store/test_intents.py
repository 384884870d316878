import pyarrow as pa
import pytest

from feature_store import intents
from feature_store.errors import DataError
from feature_store.row_checks import RawBatch


def raw(*rows: tuple) -> RawBatch:
    columns = dict(zip(intents.SCHEMA.names, zip(*rows, strict=True), strict=True))
    arrays = {name: pa.array(values, intents.SCHEMA.field(name).type) for name, values in columns.items()}
    return RawBatch(intents.TABLE, pa.record_batch(arrays), "base.jsonl", 0)


PAY = ("pay", "  How do I\npay? ", None, ["Which cards", "", None, "By  transfer?"], "payment")
TRACK = ("track", "Where is it?", "The place of a parcel.", [], None)


def test_a_base_is_in_the_order_of_its_ids_with_plain_texts():
    rows, letters = intents.checked([raw(TRACK, PAY)], 5)
    assert letters == []
    assert rows.to_pylist() == [
        {"intent_id": "pay", "title": "How do I pay?", "description": "", "examples": ["Which cards", "By transfer?"],
         "category": "payment"},
        {"intent_id": "track", "title": "Where is it?", "description": "The place of a parcel.", "examples": [],
         "category": ""},
    ]  # fmt: skip
    assert intents.text(rows.to_pylist()[0]) == "How do I pay? Which cards. By transfer?"
    assert intents.checked([raw(PAY)], 1)[0]["examples"].to_pylist() == [["Which cards"]]


def test_an_intent_without_id_or_title_or_with_an_id_that_stood_before_is_a_dead_letter():
    batches = [raw(PAY, ("", "x", "", [], "")), raw(("x", None, "", [], ""), ("pay", "again", "", [], ""))]
    rows, letters = intents.checked(batches, 5)
    assert rows["intent_id"].to_pylist() == ["pay"]
    assert [letter.reason for letter in letters] == [
        "missing intent_id", "missing title", "an intent of this id stood before"
    ]  # fmt: skip


def test_a_folder_of_intents_reads_back_and_knows_its_version(tmp_path):
    rows, _ = intents.checked([raw(PAY, TRACK)], 5)
    manifest = intents.write(tmp_path / "base", rows, [], 0.0, {"reader": "file"})
    assert intents.read(tmp_path / "base").equals(rows)
    assert manifest["version"] == intents.version(rows) != intents.version(rows.slice(1))
    assert manifest["intents"]["rows"] == 2


def test_too_many_bad_rows_leave_no_folder(tmp_path):
    rows, letters = intents.checked([raw(PAY, ("", "x", "", [], ""))], 5)
    with pytest.raises(DataError, match="1 of 2 rows are bad, more than max_bad_share=0.4 allows"):
        intents.write(tmp_path / "base", rows, letters, 0.4, {})
    assert list(tmp_path.iterdir()) == []


def test_a_question_has_the_words_that_are_asked_for_and_depends_on_its_draw():
    row = {"title": "Cancel my order", "examples": ["I want to cancel what I just bought", "Please stop my order"]}
    said = {intents.question(row, str(draw)) for draw in range(20)}
    assert len(said) > 2 and all(10 <= len(one.split()) <= 20 for one in said)
    assert intents.question(row, "1") == "I want to cancel what I just bought. Cancel my order."  # on every machine
    assert intents.question(row, "3") == "Please stop my order. I want to cancel what I just bought."
    assert intents.question({"title": "Refunds", "examples": []}, "1") == "Refunds."
