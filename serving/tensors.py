"""numpy arrays to and from `tensorflow.TensorProto`, as TF Serving reads and writes them."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2

MAX_BYTES = 1 << 28  # a proto of a few bytes may announce any shape: its values are repeated to fill it
_STRING_BYTES = 32  # an empty string: a pointer here, 24 bytes in TensorFlow

_VALUE_FIELD = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}


def type_name(dtype: int) -> str:
    """The name TensorFlow's errors give a DataType: "float", "string", "int64", …"""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def enum_name(array: np.ndarray) -> str:
    """The name of the array's DataType: "DT_FLOAT", …"""
    return types_pb2.DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum)


def shape_name(shape: tuple[int, ...]) -> str:
    """A shape as TensorFlow's errors write it: "[2,3]"."""
    return "[" + ",".join(map(str, shape)) + "]"


def from_proto(proto: tensor_pb2.TensorProto, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array a TensorProto holds; strings as an object array of bytes.

    As in TensorFlow, too few values are filled up with the last one, and none at all with zeros or "".

    Raises:
        ValueError: the type, the shape and the values do not make a tensor, or one of more than `max_bytes`.
        OverflowError: a value does not fit its type.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} is not fully known")
    size = math.prod(shape)
    dtype = _numpy_type(proto.dtype)
    if size * (_STRING_BYTES if dtype.hasobject else dtype.itemsize) > max_bytes:
        raise ValueError(f"the shape {shape} takes more than {max_bytes} bytes")
    if proto.tensor_content or proto.dtype not in _VALUE_FIELD:
        return _from_rare(proto)
    values = getattr(proto, _VALUE_FIELD[proto.dtype])
    if len(values) > size:
        raise ValueError(f"{len(values)} values for the shape {shape}")
    if proto.dtype == types_pb2.DT_STRING and values and (size - len(values)) * len(values[-1]) > max_bytes:
        raise ValueError(f"the last value repeated to fill the shape {shape} takes more than {max_bytes} bytes")
    array = np.empty(size, dtype)
    array[: len(values)] = list(values)
    if len(values) < size:
        array[len(values) :] = values[-1] if values else (b"" if proto.dtype == types_pb2.DT_STRING else 0)
    return array.reshape(shape)


def _numpy_type(dtype: int) -> np.dtype:
    try:
        return np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
    except (TypeError, KeyError) as error:
        raise ValueError(f"tensors of type {dtype} are not supported") from error


def _from_rare(proto: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return tf.make_ndarray(proto)
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(str(error)) from error


def to_proto(array: np.ndarray, dtype: int, proto: tensor_pb2.TensorProto, as_content: bool = False) -> None:
    """Writes `array` into `proto`, its values in the typed field (`float_val`, …) as TF Serving does.

    Args:
        as_content: numbers as their bytes in `tensor_content`; strings have no such form.
    """
    field = _VALUE_FIELD.get(dtype)
    if as_content and field is not None and dtype != types_pb2.DT_STRING:
        proto.dtype = dtype
        proto.tensor_shape.dim.extend(tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in array.shape)
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
        return
    if field is None:
        proto.CopyFrom(tf.make_tensor_proto(array, dtype))
        return
    proto.dtype = dtype
    dims = proto.tensor_shape.dim
    for size in array.shape:
        dims.add().size = size
    getattr(proto, field).extend(array.ravel().tolist())
