import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.schema import Field
from feature_store.wire import decode_value, encode_column, encode_value

int64 = st.integers(-(2**63), 2**63 - 1)
float32 = st.floats(width=32, allow_nan=False)
text = st.text(max_size=20)


@pytest.fixture(scope="module")
def value_type():
    from feast.protos.feast.types.Value_pb2 import Value

    return Value


CASES = st.one_of(
    st.tuples(st.just(("string", (), "string_val")), text),
    st.tuples(st.just(("int64", (), "int64_val")), int64),
    st.tuples(st.just(("float32", (), "float_val")), float32),
    st.tuples(st.just(("string", (None,), "string_list_val")), st.lists(text)),
    st.tuples(st.just(("int64", (None,), "int64_list_val")), st.lists(int64)),
    st.tuples(st.just(("float32", (None,), "float_list_val")), st.lists(float32)),
)


@given(case=CASES)
def test_values_are_feasts_own_bytes_and_read_back(value_type, case):
    (dtype, shape, name), value = case
    field = Field("f", dtype, shape)
    theirs = value_type()
    if shape:
        getattr(theirs, name).SetInParent()
        getattr(theirs, name).val.extend(value)
    else:
        setattr(theirs, name, value)
    assert encode_value(field, value) == theirs.SerializeToString()
    assert decode_value(field, theirs.SerializeToString()) == value


@pytest.mark.parametrize("length", [127, 128, 4095, 4096, 20_000])
def test_texts_of_any_length_are_feasts_own_bytes_and_read_back(value_type, length):
    texts, theirs = ["é", "x" * length, ""], value_type()
    theirs.string_list_val.val.extend(texts)
    field = Field("f", shape=(None,))
    assert encode_value(field, texts) == theirs.SerializeToString()
    assert decode_value(field, theirs.SerializeToString()) == texts


@given(rows=st.lists(st.lists(text), max_size=5), skip=st.integers(0, 2), long=st.booleans())
def test_a_column_is_encoded_as_its_values_are(rows, skip, long):
    field = Field("f", shape=(None,))
    rows = rows + [["x" * 5000]] * long
    column = pa.array(rows, field.arrow_type)[skip:]
    assert encode_column(field, column) == [encode_value(field, row) for row in rows[skip:]]


def test_columns_of_other_types_are_encoded_as_their_values_are():
    for field, values in ((Field("f"), ["é", ""]), (Field("f", "int64"), [-1, 300])):
        column = pa.array(values, field.arrow_type)
        assert encode_column(field, column) == [encode_value(field, value) for value in values]


def test_nothing_stored_reads_as_the_default():
    assert decode_value(Field("f", "int64", default=-1), None) == -1
    assert decode_value(Field("f", "float32", (2,)), b"") == [0.0, 0.0]


def test_a_value_of_another_type_is_refused():
    with pytest.raises(ValueError, match="feature 'f': stored with tag 32, not as string"):
        decode_value(Field("f"), encode_value(Field("f", "int64"), 1))
