from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving import tensors

NUMBERS = [
    np.float32,
    np.float64,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.bool_,
]
arrays = st.sampled_from(NUMBERS).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
strings = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3).flatmap(
    lambda shape: hnp.arrays(object, shape, elements=st.binary(max_size=4))
)


@given(arrays | strings)
def test_an_array_survives_the_proto(array: np.ndarray) -> None:
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(array, tf.as_dtype(array.dtype).as_datatype_enum, proto)
    back = tensors.from_proto(proto)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(tf.make_ndarray(proto).reshape(array.shape), array)


@given(arrays)
def test_reads_tensor_content(array: np.ndarray) -> None:
    np.testing.assert_array_equal(tensors.from_proto(tf.make_tensor_proto(array)), array)


def test_writes_values_into_the_typed_field() -> None:
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(np.array([[0.5, 2.0]], np.float32), types_pb2.DT_FLOAT, proto)
    assert list(proto.float_val) == [0.5, 2.0]
    assert not proto.tensor_content
    assert [dim.size for dim in proto.tensor_shape.dim] == [1, 2]


def test_half_precision_travels() -> None:
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(np.array([1.5], np.float16), types_pb2.DT_HALF, proto)
    assert tensors.from_proto(proto).tolist() == [1.5]


def proto(dtype: int, shape: list[int], **values: list) -> tensor_pb2.TensorProto:
    message = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def test_the_last_value_fills_the_rest() -> None:
    assert tensors.from_proto(proto(types_pb2.DT_INT64, [4], int64_val=[1, 2])).tolist() == [1, 2, 2, 2]
    assert tensors.from_proto(proto(types_pb2.DT_FLOAT, [2])).tolist() == [0, 0]
    assert tensors.from_proto(proto(types_pb2.DT_STRING, [2])).tolist() == [b"", b""]


@pytest.mark.parametrize(
    "message",
    [
        proto(types_pb2.DT_FLOAT, [1], float_val=[1, 2]),
        proto(types_pb2.DT_FLOAT, [-1], float_val=[1]),
        proto(types_pb2.DT_FLOAT, [1 << 62], float_val=[1]),
        proto(types_pb2.DT_FLOAT, [2], tensor_content=b"abc"),
        proto(types_pb2.DT_INT8, [1], int_val=[300]),
        proto(types_pb2.DT_INVALID, [1]),
        proto(types_pb2.DT_RESOURCE, [1]),
        proto(99, [1]),
    ],
)
def test_refuses_what_is_no_tensor(message: tensor_pb2.TensorProto) -> None:
    with pytest.raises((ValueError, OverflowError)):
        tensors.from_proto(message)
