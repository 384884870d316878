from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import json_tensors
from serving.status import StatusError

TEXT = {"history": meta_graph_pb2.TensorInfo(dtype=types_pb2.DT_STRING)}
FLOAT = {"x": meta_graph_pb2.TensorInfo(dtype=types_pb2.DT_FLOAT)}
TWO = {**FLOAT, "n": meta_graph_pb2.TensorInfo(dtype=types_pb2.DT_INT64)}


def read(body: str | bytes, inputs: dict) -> tuple[dict[str, list], bool]:
    document = json_tensors.parse(body.encode() if isinstance(body, str) else body)
    arrays, by_row = json_tensors.read_inputs(document, inputs)
    return {name: array.tolist() for name, array in arrays.items()}, by_row


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ('{"instances": [["a", "b"], ["c", ""]]}', TEXT, {"history": [[b"a", b"b"], [b"c", b""]]}),
        ('{"instances": [{"history": ["a"]}, {"history": ["b"]}]}', TEXT, {"history": [[b"a"], [b"b"]]}),
        ('{"instances": [{"b64": "/w=="}]}', TEXT, {"history": [b"\xff"]}),
        ('{"instances": [1, 2.5]}', FLOAT, {"x": [1.0, 2.5]}),
        ('{"instances": [NaN, Infinity, -Infinity]}', FLOAT, {"x": [np.nan, np.inf, -np.inf]}),
        ('{"instances": [[], []]}', FLOAT, {"x": [[], []]}),
        ('{"instances": [{"x": [1], "n": 2}]}', TWO, {"x": [[1.0]], "n": [2]}),
        ('{"inputs": [["a"]]}', TEXT, {"history": [[b"a"]]}),
        ('{"inputs": {"history": [["a"]]}}', TEXT, {"history": [[b"a"]]}),
        ('{"inputs": {"b64": "/w=="}}', TEXT, {"history": b"\xff"}),
        ('{"inputs": 3}', FLOAT, {"x": 3.0}),
        ('{"inputs": {"x": [[1, 2]], "n": 5}}', TWO, {"x": [[1.0, 2.0]], "n": 5}),
    ],
)
def test_reads_every_form(body: str, inputs: dict, expected: dict[str, object]) -> None:
    arrays, by_row = read(body, inputs)
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values)
    assert by_row == ("instances" in body)


@pytest.mark.parametrize(
    ("body", "inputs", "message"),
    [
        ("", TEXT, "JSON Parse error: The document is empty"),
        ("[", TEXT, "JSON Parse error: Invalid value. at offset: 1"),
        ('{"inputs": 1} x', TEXT, "The document root must not be followed by other values."),
        (b'{"inputs": "\xff"}', TEXT, "JSON Parse error: Invalid encoding in string. at offset: 12"),
        ('{"inputs": ' + "[" * 100_000, TEXT, "JSON Parse error: Terminate parsing"),
        ('{"inputs": ' + "9" * 10_000 + "}", TEXT, "JSON Parse error: Terminate parsing"),
        ('{"inputs": ' + "[" * 40 + "]" * 40 + "}", TEXT, "Encountered list at unexpected level: 32"),
        ('{"a": ' + "[" * 900 + "]" * 900 + ', "inputs": 1, "instances": 1}', TEXT, "expecting only one of"),
        ("[1]", TEXT, "Is not object"),
        ("{}", TEXT, "Missing 'inputs' or 'instances' key"),
        ('{"inputs": [], "instances": []}', TEXT, "only one of 'inputs' or 'instances' keys to exist"),
        ('{"instances": 1}', TEXT, "Excepting 'instances' to be an list/array"),
        ('{"instances": []}', TEXT, "No values in 'instances' array"),
        ('{"instances": [1]}', TWO, "instances is a plain list, but expecting list of objects"),
        ('{"inputs": [1]}', TWO, "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"x": 1}}', TWO, "Missing named input: n in 'inputs' object."),
        ('{"instances": [{"x": 1}]}', TWO, "keys must be equal to: n,x"),
        ('{"instances": [{"y": 1}]}', FLOAT, "JSON object: does not have named input: y"),
        ('{"instances": [{"x": 1}, 2]}', FLOAT, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', FLOAT, "Expecting value/list but got object at item 1"),
        ('{"instances": [[1], [1, 2]]}', FLOAT, "Expecting tensor size: 1 but got: 2"),
        ('{"instances": [[[1], [2]], [[1, 2]]]}', FLOAT, "Expecting shape [2,1] but got: [1,2]"),
        ('{"instances": ["a"]}', FLOAT, "element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "),
        ('{"inputs": [[1], [1, 2]]}', FLOAT, "list at unexpected size: 2 at level: 1 expected size: 1"),
        ('{"inputs": [[1], 2]}', FLOAT, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM"),
        ('{"inputs": [1, [2]]}', FLOAT, "Encountered list at unexpected level: 1 expected < 1"),
    ],
)
def test_refuses_what_tf_serving_refuses(body: str | bytes, inputs: dict, message: str) -> None:
    with pytest.raises(StatusError) as error:
        read(body, inputs)
    assert message in error.value.message
    assert error.value.code.name == "INVALID_ARGUMENT"


def test_refuses_more_values_than_there_is_room_for() -> None:
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: JSON Parse error: More than 8000000 values."):
        json_tensors.parse(b'{"inputs": [' + b"[]," * 4_000_000 + b"1]}")


def test_a_signature_name_is_a_string() -> None:
    assert json_tensors.signature_name({}) == ""
    assert json_tensors.signature_name({"signature_name": "score"}) == "score"
    with pytest.raises(StatusError, match="'signature_name' key must be a string value."):
        json_tensors.signature_name({"signature_name": 100})


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: str | bytes) -> None:
    try:
        read(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"), TEXT)
    except StatusError as error:
        assert error.code.name == "INVALID_ARGUMENT"


@given(st.integers(0, 200))
def test_a_truncated_body_is_refused(length: int) -> None:
    body = b'{"signature_name": "serving_default", "instances": [["a", "b"], ["c", {"b64": "ZA=="}]]}'
    if length < len(body):
        with pytest.raises(StatusError, match="JSON Parse error"):
            read(body[:length], TEXT)


floats = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))


@given(floats, st.booleans())
@example(np.full((1,), np.finfo(np.float32).max), True)  # nine digits of it are above it
def test_floats_survive_the_round_trip(array: np.ndarray, by_row: bool) -> None:
    answer = json.loads(json_tensors.write_outputs({"x": array}, by_row))
    key = "predictions" if by_row else "outputs"
    question = {"instances" if by_row else "inputs": answer[key]}
    back, _ = json_tensors.read_inputs(json_tensors.parse(json.dumps(question).encode()), FLOAT)
    np.testing.assert_array_equal(back["x"], array)


texts = hnp.arrays(object, (2, 2), elements=st.text().map(lambda s: s.encode("utf-8", "replace")))
raw = hnp.arrays(object, (2, 2), elements=st.binary())


@given(texts, raw, st.booleans())
def test_strings_and_bytes_survive_the_round_trip(text: np.ndarray, data: np.ndarray, by_row: bool) -> None:
    body = json_tensors.write_outputs({"text": text, "raw_bytes": data}, by_row)
    answer = json.loads(body)["predictions" if by_row else "outputs"]
    info = meta_graph_pb2.TensorInfo(dtype=types_pb2.DT_STRING)
    question = {"instances" if by_row else "inputs": answer}
    back, _ = json_tensors.read_inputs(question, {"text": info, "raw_bytes": info})
    assert back["text"].tolist() == text.tolist()
    assert back["raw_bytes"].tolist() == data.tolist()


def test_writes_rows_and_columns() -> None:
    items, scores = np.array([[b"a"], [b"b"]], object), np.array([1, 2], np.float32)
    both = {"items": items, "scores": scores}
    assert json.loads(json_tensors.write_outputs(both, True)) == {
        "predictions": [{"items": ["a"], "scores": 1.0}, {"items": ["b"], "scores": 2.0}]
    }
    assert json.loads(json_tensors.write_outputs(both, False)) == {
        "outputs": {"items": [["a"], ["b"]], "scores": [1.0, 2.0]}
    }
    assert json_tensors.write_outputs({"scores": scores}, True) == b'{"predictions": [1.0, 2.0]}'
    assert json_tensors.write_outputs({"scores": scores[:0]}, True) == b'{"predictions": []}'
    assert json_tensors.write_outputs({"scores": scores[0]}, False) == b'{"outputs": 1.0}'


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"x": np.float32(1)}, "Tensor name: x has no shape information"),
        ({"x": np.ones(2), "y": np.ones(3)}, "Tensor name: y has inconsistent batch size: 3 expecting: 2"),
    ],
)
def test_refuses_outputs_without_a_row_form(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(StatusError, match=message):
        json_tensors.write_outputs(outputs, True)
