from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2

from serving import json_values
from serving.status import StatusError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (2.5, "2.5"),
        (3.0, "3.0"),
        (1 / 3, "0.333333343"),
        (9e6, "9e+06"),
        (16777216.0, "16777216.0"),
        (-0.0, "-0.0"),
        (np.inf, "Infinity"),
        (-np.inf, "-Infinity"),
        (np.nan, "NaN"),
    ],
)
def test_writes_float32_as_tf_serving_does(value: float, text: str) -> None:
    assert json_values.encoded("x", np.array([value], np.float32)) == [text]


@given(st.floats(width=32, allow_nan=False))
def test_every_float32_is_read_back_the_same(value: float) -> None:
    (text,) = json_values.encoded("x", np.array(value, np.float32))
    assert np.float32(json.loads(text)) == np.float32(value)


@given(st.floats(allow_nan=False))
def test_every_float64_is_read_back_the_same(value: float) -> None:
    (text,) = json_values.encoded("x", np.array(value, np.float64))
    assert json.loads(text) == value


def test_writes_strings_and_bytes() -> None:
    values = np.array([b'a"\n', "ü".encode()], object)
    assert json_values.encoded("x", values) == ['"a\\"\\n"', '"ü"']
    assert json_values.encoded("x_bytes", values[:1]) == ['{"b64": "YSIK"}']


def test_refuses_a_type_without_a_form_in_json() -> None:
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: complex64"):
        json_values.encoded("x", np.array([1j], np.complex64))


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (types_pb2.DT_STRING, 1, "JSON Value: 1 Type: Number is not of expected type: string"),
        (types_pb2.DT_FLOAT, "x", 'JSON Value: "x" Type: String is not of expected type: float'),
        (types_pb2.DT_FLOAT, True, "JSON Value: true Type: True is not of expected type: float"),
        (types_pb2.DT_FLOAT, None, "JSON Value: null Type: Null is not of expected type: float"),
        (types_pb2.DT_INT64, 1.0, "JSON Value: 1.0 Type: Number is not of expected type: int64"),
        (types_pb2.DT_INT64, 2**63, " is not of expected type: int64"),
        (types_pb2.DT_UINT64, -1, "is not of expected type: uint64"),
        (types_pb2.DT_BOOL, 0, "JSON Value: 0 Type: Number is not of expected type: bool"),
        (
            types_pb2.DT_FLOAT,
            2**24,
            "Cannot convert JSON value: 16777216 to float without loss of precision.",
        ),
        (types_pb2.DT_FLOAT, 1e39, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        (types_pb2.DT_STRING, {"b64": "*"}, "Unable to base64 decode"),
        (types_pb2.DT_STRING, {"b": "a"}, "not formatted correctly for base64 data"),
    ],
)
def test_refuses_a_value_of_another_type(dtype: int, value: object, message: str) -> None:
    with pytest.raises(StatusError) as error:
        json_values.reader(dtype)(value)
    assert error.value.message.endswith(message)
    assert error.value.code.name == "INVALID_ARGUMENT"


def test_decodes_base64_with_or_without_padding() -> None:
    read = json_values.reader(types_pb2.DT_STRING)
    assert read({"b64": "/w=="}) == b"\xff"
    assert read({"b64": "/w"}) == b"\xff"
