import json

import pyarrow as pa
import pytest

from feature_store.errors import DataError
from feature_store.row_checks import Checked, DeadLetter, RawBatch
from feature_store.schema import Field

FIELDS = (Field("key", required=True), Field("size", "int64"), Field("parts", "float32", shape=(None,)))


def test_a_row_has_the_first_of_its_faults_and_the_good_ones_their_types():
    batch = pa.record_batch({"key": ["a", "", "c"], "size": ["1", "x", "y"], "parts": [[1, 2], [], None]})
    before = DeadLetter("things", "file", 9, "no line", '""')
    rows = Checked(RawBatch("things", batch, "file", 4, 0, (before,)), FIELDS)
    assert rows.reasons.tolist() == ["", "missing key", "wrong type in size"]
    assert rows.good().to_pylist() == [{"key": "a", "size": 1, "parts": [1.0, 2.0]}]
    first, second, third = rows.dead_letters()
    assert first is before
    assert (second.table, second.source, second.row, third.row) == ("things", "file", 5, 6)
    assert json.loads(second.record) == {"key": "", "size": "x", "parts": []}


def test_a_missing_column_is_empty_unless_it_is_required():
    batch = pa.record_batch({"key": ["a"]})
    assert Checked(RawBatch("things", batch, "file", 0), FIELDS).good().to_pylist() == [
        {"key": "a", "size": None, "parts": []}
    ]
    with pytest.raises(DataError, match="file, field 'key': a required column is missing"):
        Checked(RawBatch("things", pa.record_batch({"size": [1]}), "file", 0), FIELDS)


def test_a_required_value_is_neither_null_nor_empty():
    batch = pa.record_batch({"key": pa.array([None, ""], pa.string())})
    assert Checked(RawBatch("things", batch, "file", 0), FIELDS).reasons.tolist() == ["missing key"] * 2
