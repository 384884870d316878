import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from feature_store.schema import Field
from feature_store.tfrecord import crc32c, decode_examples, encode_examples, read_records, write_records

FIELDS = (
    Field("user_id"),
    Field("history", shape=(None,)),
    Field("time", "int64"),
    Field("price", "float32"),
    Field("vector", "float32", (None,)),
    Field("counts", "int64", (None,)),
)
ROWS = [
    {
        "user_id": "é\n",
        "history": ["x", "", "y" * 5000],
        "time": -1,
        "price": 0.5,
        "vector": [1.5],
        "counts": [3],
    },
    {"user_id": "b", "history": [], "time": 2**62, "price": 0.0, "vector": [], "counts": []},
]


def table(rows):
    return pa.table({f.name: pa.array([row[f.name] for row in rows], f.arrow_type) for f in FIELDS})


def as_example(row):
    features = tf.train.Features()
    for field in FIELDS:
        values = row[field.name] if field.is_list else [row[field.name]]
        feature = features.feature[field.name]
        if field.dtype == "string":
            feature.bytes_list.SetInParent()
            feature.bytes_list.value.extend(value.encode() for value in values)
        else:
            kind = feature.int64_list if field.dtype == "int64" else feature.float_list
            kind.SetInParent()
            kind.value.extend(values)
    return tf.train.Example(features=features).SerializeToString(deterministic=True)


def test_rows_are_tensorflows_own_bytes():
    assert encode_examples(table(ROWS), FIELDS) == [as_example(row) for row in ROWS]
    assert encode_examples(table(ROWS).slice(1), FIELDS) == [as_example(ROWS[1])]
    assert encode_examples(table([]), FIELDS) == []


def test_a_null_is_refused():
    with pytest.raises(ValueError, match="feature 'time' holds 1 nulls"):
        encode_examples(table([ROWS[0] | {"time": None}]), FIELDS)


def test_crc32c_of_the_standard_check_text():
    assert crc32c([b"123456789", b""]).tolist() == [0xE3069283, 0]
    assert crc32c([]).tolist() == []


@given(records=st.lists(st.binary(max_size=300), max_size=8))
def test_tensorflow_reads_the_file_and_would_write_the_same(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("records")
    write_records(folder / "ours", records)
    with tf.io.TFRecordWriter(str(folder / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert (folder / "ours").read_bytes() == (folder / "theirs").read_bytes()
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(folder / "ours"))] == records


def test_what_was_written_is_read_back(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_records(path, encode_examples(table(ROWS), FIELDS))
    assert decode_examples(list(read_records(path)), FIELDS).to_pylist() == ROWS


def test_tensorflow_s_own_encoding_is_read_and_what_a_row_lacks_is_the_default():
    lacking = Field("age", "int64", default=7)
    found = decode_examples([as_example(row) for row in ROWS], (*FIELDS, lacking)).to_pylist()
    assert found == [row | {"age": 7} for row in ROWS]
