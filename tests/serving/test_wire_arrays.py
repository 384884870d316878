"""The client's arrays against TensorFlow's own reading and writing of TensorProto."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from feature_store.prediction_log import DT_FLOAT
from serving import wire, wire_arrays
from serving.status import StatusError

ARRAYS = [
    np.array([[1.5, -2.0]], np.float32),
    np.array([1e300]),
    np.array([[-1], [7]], np.int32),
    np.array([2**40], np.int64),
    np.array([True, False]),
    np.array([0, 255], np.uint8),
    np.array([[]], np.float32),
    np.array(3, np.int64),
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_numbers_read_as_tensorflow_reads_them_and_back(array: np.ndarray) -> None:
    ours = wire.Tensor()
    wire_arrays.fill(ours, array)
    theirs = tf.make_ndarray(tensor_pb2.TensorProto.FromString(ours.SerializeToString()))
    for read in (theirs, wire_arrays.from_tensor("x", ours)):
        np.testing.assert_array_equal(read, array)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("array", [array for array in ARRAYS if array.ndim], ids=str)
def test_reads_values_in_the_typed_fields_as_tf_serving_writes_them(array: np.ndarray) -> None:
    theirs = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    theirs.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    field = {"f4": "float_val", "f8": "double_val", "i8": "int64_val", "b1": "bool_val"}.get(array.dtype.str[1:])
    getattr(theirs, field or "int_val").extend(array.ravel().tolist())
    read = wire_arrays.from_tensor("x", wire.Tensor.FromString(theirs.SerializeToString()))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_strings_and_bytes() -> None:
    array = wire_arrays.from_values("x", [["ü", "\x00"], [b"\xff", ""]])
    ours = wire.Tensor()
    wire_arrays.fill(ours, array)
    theirs = tf.make_ndarray(tensor_pb2.TensorProto.FromString(ours.SerializeToString()))
    assert theirs.tolist() == [["ü".encode(), b"\x00"], [b"\xff", b""]]
    assert wire_arrays.from_tensor("raw_bytes", ours).tolist() == theirs.tolist()
    with pytest.raises(StatusError, match="output x: 'utf-8' codec") as error:
        wire_arrays.from_tensor("x", ours)
    assert error.value.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([["a", "b"]], object), (["a" * 3, b"b"], object), ([1, 2], np.int64), ([1.0, 2], np.float32), ([True], bool)],
)
def test_lists_become_arrays(values: Any, dtype: Any) -> None:
    array = wire_arrays.from_values("x", values)
    assert array.dtype == dtype
    assert array.tolist() == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a"], ["b", "c"]], "input x must have rows of one length"),
        ([None], r"input x must be of strings, bools or numbers, got \['NoneType'\]"),
        (["a", 1], r"got \['int', 'str'\]"),
        (np.array([1j]), "got complex128"),
    ],
)
def test_refuses_what_is_no_tensor(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wire_arrays.from_values("x", values)


def test_an_output_of_another_type_or_shape_is_an_internal_error() -> None:
    half = wire.Tensor.FromString(tf.make_tensor_proto([1.0], tf.float16).SerializeToString())
    with pytest.raises(StatusError, match="output x: type 19 is not read here"):
        wire_arrays.from_tensor("x", half)
    short = wire.Tensor(dtype=DT_FLOAT, float_val=[1.0], tensor_shape={"dim": [{"size": 2}]})
    with pytest.raises(StatusError, match="output x: cannot reshape"):
        wire_arrays.from_tensor("x", short)


def test_json_keeps_strings_numbers_and_bytes() -> None:
    for values in ([["a", "\x00"]], [[1, 2]], [[0.5, 2.0]], [[True]], [[b"\xff", "a"]]):
        array = wire_arrays.from_values("x", values)
        sent = json.loads(json.dumps(wire_arrays.to_json(array)))
        assert wire_arrays.from_json("x", sent).tolist() == values
    with pytest.raises(StatusError, match="output x must have rows of one length"):
        wire_arrays.from_json("x", [[1], [2, 3]])
