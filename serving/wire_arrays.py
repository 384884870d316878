"""numpy arrays to and from what a client sends and reads, without TensorFlow: `wire.Tensor` and JSON.

Strings are object arrays of str; an output whose name ends in "_bytes" has bytes, as TF Serving's REST API has it.
"""

from __future__ import annotations

import base64
from typing import Any

import grpc
import numpy as np

from feature_store.prediction_log import DT_STRING, TYPES, tensor_array
from serving.status import StatusError

_NUMBERS = {dtype: number for number, (dtype, _) in TYPES.items()}


def from_values(name: str, values: Any) -> np.ndarray:
    """The array of an input: an array as it is; nested lists of str or bytes, bool, int (int64) or float (float32).

    Raises:
        ValueError: the lists are of different lengths, or hold something else.
    """
    if isinstance(values, np.ndarray):
        array = values.astype(object) if values.dtype.kind in "SU" else values
        if array.dtype.hasobject or array.dtype in _NUMBERS:
            return array
        raise ValueError(f"input {name} must be of strings, bools or numbers, got {values.dtype}")
    array = np.array(values, dtype=object)  # not numpy's own strings, which end at the first NUL
    kinds = {type(value) for value in array.ravel()}
    if kinds & {list, tuple}:
        raise ValueError(f"input {name} must have rows of one length, got {values!r:.100}")
    if kinds <= {str, bytes}:
        return array
    if kinds == {bool}:
        return array.astype(np.bool_)
    if kinds == {int}:
        return array.astype(np.int64)
    if kinds <= {int, float}:
        return array.astype(np.float32)
    raise ValueError(f"input {name} must be of strings, bools or numbers, got {sorted(k.__name__ for k in kinds)}")


def fill(tensor: Any, array: np.ndarray) -> None:
    """Writes `array` into an empty `wire.Tensor`."""
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype.hasobject:
        tensor.dtype = DT_STRING
        tensor.string_val.extend(value.encode() if isinstance(value, str) else value for value in array.ravel())
    else:
        tensor.dtype = _NUMBERS[array.dtype]
        tensor.tensor_content = array.tobytes()


def from_tensor(name: str, tensor: Any) -> np.ndarray:
    """The array a `wire.Tensor` holds.

    Raises:
        StatusError: INTERNAL for a type that is not read here, or values that are not of the tensor's shape.
    """
    try:
        return tensor_array(name, tensor)
    except ValueError as error:
        raise StatusError(grpc.StatusCode.INTERNAL, f"output {name}: {error}") from error


def to_json(array: np.ndarray) -> Any:
    """The array as nested lists that `json` can write."""
    if array.dtype.hasobject and any(isinstance(value, bytes) for value in array.ravel()):
        array = np.array([_as_text(value) for value in array.ravel()], dtype=object).reshape(array.shape)
    return array.tolist()


def from_json(name: str, values: Any) -> np.ndarray:
    """The array of an answer's nested lists. JSON does not tell types: whole numbers are int64, others float32.

    Raises:
        StatusError: INTERNAL where they make no array.
    """
    try:
        return from_values(name, _decoded(values))
    except ValueError as error:
        raise StatusError(grpc.StatusCode.INTERNAL, str(error).replace("input", "output", 1)) from error


def _as_text(value: str | bytes) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _decoded(values: Any) -> Any:
    if isinstance(values, dict) and values.keys() == {"b64"}:
        return base64.b64decode(values["b64"])
    if isinstance(values, list) and values and isinstance(values[0], list | dict):
        return [_decoded(value) for value in values]
    return values
