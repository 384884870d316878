"""One value of a tensor in JSON: read with TF Serving's type rules, written with its number formats."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.status import StatusError, invalid_argument
from serving.tensors import type_name

_SHOWN = 400  # characters of the client's own JSON repeated in an error
_INT32 = (-(2**31), 2**31)
_INTEGERS = {
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_UINT32: (0, 2**32),
    types_pb2.DT_INT64: (-(2**63), 2**63),
    types_pb2.DT_UINT64: (0, 2**64),
}


def is_base64(value: Any) -> bool:
    """Whether a JSON value is bytes: {"b64": "<base64>"} and nothing else."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def reader(dtype: int) -> Callable[[Any], Any]:
    """A function from one JSON value to a value of `dtype`; it raises a StatusError where there is none."""
    if dtype == types_pb2.DT_STRING:
        return _read_bytes
    if dtype == types_pb2.DT_BOOL:
        return lambda value: value if isinstance(value, bool) else _refuse(value, dtype)
    if dtype in (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE):
        return lambda value: _read_decimal(value, dtype)
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        return lambda value: value if type(value) is int and low <= value < high else _refuse(value, dtype)
    raise StatusError(
        grpc.StatusCode.UNIMPLEMENTED,
        f"Conversion of JSON Value to type: {type_name(dtype)} is not supported",
    )


def _read_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict):
        return _refuse(value, types_pb2.DT_STRING)
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    try:
        text = value["b64"].rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _read_decimal(value: Any, dtype: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _refuse(value, dtype)
    single = dtype == types_pb2.DT_FLOAT
    if isinstance(value, int):
        lossless = abs(value) <= 2 ** (24 if single else 53) - 1
    else:
        with np.errstate(over="ignore"):
            lossless = not single or not np.isfinite(value) or bool(np.isfinite(np.float32(value)))
    if not lossless:
        kind = "float" if single else "double"
        raise invalid_argument(
            f"Cannot convert JSON value: {show(value)} to {kind} without loss of precision."
        )
    return float(value)


def _refuse(value: Any, dtype: int) -> Any:
    raise invalid_argument(
        f"JSON Value: {show(value)} Type: {type_of(value)} is not of expected type: {type_name(dtype)}"
    )


def show(value: Any) -> str:
    """A JSON value as an error repeats it, cut where it is long."""
    text = ""
    try:
        for piece in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
            text += piece
            if len(text) > _SHOWN:
                return text[:_SHOWN] + "..."
    except RecursionError:
        return text + "..."
    return text


def type_of(value: Any) -> str:
    """The name errors give a JSON value's type."""
    if value is None or isinstance(value, bool):
        return {None: "Null", False: "False", True: "True"}[value]
    return {dict: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def encoded(name: str, array: np.ndarray) -> list[str]:
    """The JSON text of every value of `array`, in order; bytes as base64 where `name` ends in "_bytes".

    Strings that are not UTF-8 keep their bytes (as surrogate escapes).

    Raises:
        StatusError: INVALID_ARGUMENT for a type that has no form in JSON.
    """
    flat = array.ravel().tolist()
    if array.dtype == object:
        if name.endswith("_bytes"):
            return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in flat]
        return [json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False) for value in flat]
    if array.dtype.kind == "f":
        return _decimals(array, flat)
    if array.dtype.kind == "b":
        return ["true" if value else "false" for value in flat]
    if array.dtype.kind in "iu":
        return [str(value) for value in flat]
    kind = type_name(tf.as_dtype(array.dtype).as_datatype_enum)
    raise invalid_argument(f"Failed to write JSON value for tensor type: {kind}")


def _decimals(array: np.ndarray, flat: list[float]) -> list[str]:
    """Six digits where they give the same number again, else as many as it takes; whole ones end in ".0"."""
    digits = 17 if array.dtype == np.float64 else 9
    texts = [f"{value:.6g}" for value in flat]
    exact = np.asarray(texts, dtype=np.float64).astype(array.dtype) == array.ravel()
    return [
        _decimal(text if same else f"{value:.{digits}g}", value)
        for text, same, value in zip(texts, exact.tolist(), flat, strict=True)
    ]


def _decimal(text: str, value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return text if "." in text or "e" in text else text + ".0"
