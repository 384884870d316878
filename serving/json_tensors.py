"""The JSON of TF Serving's REST predict API to arrays, and arrays to JSON.

A request holds its tensors by row ("instances": one entry an example, batched here) or by column ("inputs":
the tensors as they are); the response answers in the same form ("predictions" or "outputs"). Bytes travel as
{"b64": "<base64>"}. Wording of the errors and number formats are TF Serving's.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.json_values import encoded, is_base64, reader, show
from serving.status import StatusError, invalid_argument
from serving.tensors import shape_name

MAX_RANK = 32  # lists nested deeper are refused
MAX_VALUES = 8_000_000  # a request with more is refused: an empty list is two bytes of JSON and sixty in memory

Inputs = Mapping[str, meta_graph_pb2.TensorInfo]

_PARSE_ERRORS = (  # the start of Python's message → rapidjson's
    ("Extra data", "The document root must not be followed by other values."),
    ("Expecting property name", "Missing a name for object member."),
    ("Expecting ':' delimiter", "Missing a colon after a name of object member."),
    ("Expecting ',' delimiter", "Missing a comma or ] after an array element."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\", "Invalid escape character in string."),
    ("Expecting value", "Invalid value."),
)


def parse(body: bytes) -> dict[str, Any]:
    """The request's top-level JSON object.

    Raises:
        StatusError: INVALID_ARGUMENT where `body` is not one JSON object in UTF-8, nests too deeply, or holds too much.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise invalid_argument(f"JSON Parse error: More than {MAX_VALUES} values.")
    if not body.strip():
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise invalid_argument(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from error
    except json.JSONDecodeError as error:
        reason = next((ours for start, ours in _PARSE_ERRORS if error.msg.startswith(start)), error.msg)
        raise invalid_argument(f"JSON Parse error: {reason} at offset: {error.pos}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
        raise invalid_argument("JSON Parse error: Terminate parsing due to Handler error.") from error
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {show(document)} Is not object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    """The request's "signature_name", "" where it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be a string "
            f"value."
        )
    return name.encode("utf-8", "replace").decode()  # half a surrogate pair is no text


def read_inputs(document: dict[str, Any], inputs: Inputs) -> tuple[dict[str, np.ndarray], bool]:
    """The request's tensors.

    Args:
        document: what `parse` returned.
        inputs: the signature's inputs, name → `TensorInfo`.

    Returns:
        One array for each input, and whether they came by row ("instances").

    Raises:
        StatusError: INVALID_ARGUMENT where they cannot be read as the signature's types.
    """
    rows, columns = "instances" in document, "inputs" in document
    if rows and columns:
        raise invalid_argument(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs' or "
            f"'instances' "
            "keys to exist "
        )
    if rows:
        return _from_rows(document, inputs), True
    if columns:
        return _from_columns(document["inputs"], inputs), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _from_rows(document: dict[str, Any], inputs: Inputs) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {show(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {show(document)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    values: dict[str, list[Any]] = {name: [] for name in inputs}
    shapes: dict[str, tuple[int, ...]] = {}
    for index, instance in enumerate(instances):
        if named != _is_named(instance):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(f"Expecting {expected} but got {got} at item {index} of input list")
        members = instance if named else {next(iter(inputs)): instance}
        for name, value in members.items():
            try:
                _add_instance(name, value, inputs, values, shapes)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {index}{key} of 'instances' list. Error: {error}"
                ) from error
        if members.keys() != set(inputs):
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object: {show(instance)} "
                f"keys must "
                f"be equal to: {','.join(sorted(inputs))}"
            )
    return {
        name: _array(flat, (len(instances), *shapes[name]), inputs[name].dtype)
        for name, flat in values.items()
    }


def _is_named(instance: Any) -> bool:
    return isinstance(instance, dict) and not is_base64(instance)


def _add_instance(
    name: str,
    value: Any,
    inputs: Inputs,
    values: dict[str, list[Any]],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    if name not in inputs:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    shape = _shape(value)
    before = len(values[name])
    _fill(value, 0, shape, reader(inputs[name].dtype), values[name])
    expected = shapes.setdefault(name, shape)
    if shape != expected:
        size, expected_size = len(values[name]) - before, int(np.prod(expected))
        if size != expected_size:
            raise invalid_argument(f"Expecting tensor size: {expected_size} but got: {size}")
        raise invalid_argument(f"Expecting shape {shape_name(expected)} but got: {shape_name(shape)}")


def _from_columns(columns: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    if not _is_named(columns):
        if len(inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required "
                "as per "
                "tensorinfo_map"
            )
        columns = {next(iter(inputs)): columns}
    arrays = {}
    for name, info in inputs.items():
        if name not in columns:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        shape = _shape(columns[name])
        flat: list[Any] = []
        _fill(columns[name], 0, shape, reader(info.dtype), flat)
        arrays[name] = _array(flat, shape, info.dtype)
    return arrays


def _shape(value: Any) -> tuple[int, ...]:
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        if len(sizes) > MAX_RANK:
            raise invalid_argument(f"Encountered list at unexpected level: {MAX_RANK} expected < {MAX_RANK}")
        if not value:
            break
        value = value[0]
    return tuple(sizes)


def _fill(
    value: Any, level: int, shape: tuple[int, ...], read: Callable[[Any], Any], flat: list[Any]
) -> None:
    """Appends the leaves of `value`, lists nested as `shape` says, to `flat`."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise invalid_argument(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {rank}"
            )
        flat.append(read(value))
        return
    if level >= rank:
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for element in value:
        _fill(element, level + 1, shape, read, flat)


def _array(flat: list[Any], shape: tuple[int, ...], dtype: int) -> np.ndarray:
    array = np.empty(len(flat), tf.as_dtype(dtype).as_numpy_dtype)
    try:
        array[:] = flat
    except OverflowError as error:  # the narrow integers are read as int32
        raise invalid_argument(f"{error}") from error
    return array.reshape(shape)


def write_outputs(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """The response's JSON.

    Args:
        outputs: output name → array; with `by_row`, all of one size along their first dimension.
        by_row: whether to answer as "predictions", one entry an example, or as "outputs".

    Raises:
        StatusError: INVALID_ARGUMENT where the outputs do not fit the row form or have no form in JSON.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    text = _rows(outputs) if by_row else _columns(outputs)
    return text.encode("utf-8", "surrogateescape")


def _rows(outputs: Mapping[str, np.ndarray]) -> str:
    batch = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch >= 0 and len(array) != batch:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)
    columns = []
    for name, array in outputs.items():
        texts = iter(encoded(name, array))
        columns.append([_nest(texts, array.shape[1:]) for _ in range(batch)])
    if len(columns) == 1:
        return f'{{"predictions": [{", ".join(columns[0])}]}}'
    keys = [json.dumps(name) for name in outputs]
    rows = (
        "{" + ", ".join(f"{key}: {value}" for key, value in zip(keys, row, strict=True)) + "}"
        for row in zip(*columns, strict=True)
    )
    return f'{{"predictions": [{", ".join(rows)}]}}'


def _columns(outputs: Mapping[str, np.ndarray]) -> str:
    values = {name: _nest(iter(encoded(name, array)), array.shape) for name, array in outputs.items()}
    if len(values) == 1:
        return f'{{"outputs": {next(iter(values.values()))}}}'
    return '{"outputs": {' + ", ".join(f"{json.dumps(name)}: {text}" for name, text in values.items()) + "}}"


def _nest(texts: Iterator[str], shape: tuple[int, ...]) -> str:
    """Takes as many values as `shape` holds and joins them into JSON lists."""
    if not shape:
        return next(texts)
    if len(shape) == 1:
        return "[" + ", ".join(itertools.islice(texts, shape[0])) + "]"
    return "[" + ", ".join(_nest(texts, shape[1:]) for _ in range(shape[0])) + "]"
