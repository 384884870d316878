"""The JSON of TF Serving's REST classify and regress APIs to `Input` messages, and their results to JSON.

A request holds `"examples"`, a list of objects (feature → value or list of values), and perhaps a `"context"`, one
such object that all examples share. Strings and {"b64": …} make bytes features, numbers with a fraction or an exponent
floats, other numbers and true and false int64s. Wording of the errors is TF Serving's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving.json_values import encoded, is_base64, reader, show, type_of
from serving.status import invalid_argument

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_read_bytes = reader(types_pb2.DT_STRING)
_read_float = reader(types_pb2.DT_FLOAT)


def read_input(document: dict[str, Any], request_input: input_pb2.Input) -> None:
    """Writes the request's examples into `request_input`.

    Args:
        document: what `json_tensors.parse` returned.

    Raises:
        StatusError: INVALID_ARGUMENT where they cannot be read.
    """
    examples = request_input.example_list
    if "context" in document:
        examples = request_input.example_list_with_context
        _read_example(document["context"], examples.context)
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {show(document)} When method is classify, key 'examples' is expected and was not found"
        )
    values = document["examples"]
    if not isinstance(values, list):
        raise invalid_argument(f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array")
    if not values:
        raise invalid_argument(f"JSON Value: {show(document)} 'examples' value is an empty array")
    for value in values:
        _read_example(value, examples.examples.add())


def _read_example(value: Any, example: example_pb2.Example) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_of(value)}")
    for name, content in value.items():
        feature = feature_pb2.Feature()
        for element in content if isinstance(content, list) else [content]:
            _add(element, name, feature)
        example.features.feature[name.encode("utf-8", "replace").decode()].CopyFrom(feature)


def _add(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, str) or is_base64(value):
        _list(feature, "bytes_list", name).append(_read_bytes(value))
    elif isinstance(value, bool):
        _list(feature, "int64_list", name).append(int(value))
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        _list(feature, "int64_list", name).append(value)
    elif isinstance(value, int) and 0 <= value < 2**64:
        _list(feature, "int64_list", name)
        raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    elif isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:  # a whole number of more than 308 digits
            number = value
        _list(feature, "float_list", name).append(_read_float(number))
    else:
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_of(value)}")


def _list(feature: feature_pb2.Feature, kind: str, name: str) -> Any:
    """The feature's values of one kind; an error where it has values of another."""
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[found]}")
    return getattr(feature, kind).value


def write_classifications(result: classification_pb2.ClassificationResult) -> bytes:
    """{"results": [[["label", score], …], …]}, one list of pairs an example."""
    rows = []
    for row in result.classifications:
        labels = encoded("label", np.array([entry.label.encode() for entry in row.classes], object))
        scores = encoded("score", np.array([entry.score for entry in row.classes], np.float32))
        rows.append("[" + ", ".join(f"[{pair[0]}, {pair[1]}]" for pair in zip(labels, scores, strict=True)) + "]")
    return _results(rows)


def write_regressions(result: regression_pb2.RegressionResult) -> bytes:
    """{"results": [value, …]}, one number an example."""
    return _results(encoded("value", np.array([entry.value for entry in result.regressions], np.float32)))


def _results(values: list[str]) -> bytes:
    return f'{{"results": [{", ".join(values)}]}}'.encode("utf-8", "surrogateescape")
