from __future__ import annotations

import json

import pytest
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving import json_examples, json_tensors
from serving.status import StatusError


def read(body: str) -> input_pb2.Input:
    request_input = input_pb2.Input()
    json_examples.read_input(json_tensors.parse(body.encode()), request_input)
    return request_input


def feature(example: example_pb2.Example, name: str) -> tuple[str, list]:
    kind = example.features.feature[name].WhichOneof("kind")
    return kind, list(getattr(example.features.feature[name], kind).value)


def test_a_value_s_form_makes_the_feature_s_kind() -> None:
    (example,) = read(
        '{"examples": [{"a": [1, 2], "b": 1.0, "c": "x", "d": {"b64": "/w=="}, "e": [true, 3], "f": 1e3, "g": NaN}]}'
    ).example_list.examples
    assert feature(example, "a") == ("int64_list", [1, 2])
    assert feature(example, "b") == ("float_list", [1])
    assert feature(example, "c") == ("bytes_list", [b"x"])
    assert feature(example, "d") == ("bytes_list", [b"\xff"])
    assert feature(example, "e") == ("int64_list", [1, 3])
    assert feature(example, "f") == ("float_list", [1000])
    assert len(feature(example, "g")[1]) == 1


def test_a_feature_without_values_is_there() -> None:
    (example,) = read('{"examples": [{"a": []}]}').example_list.examples
    assert list(example.features.feature) == ["a"]


def test_examples_share_a_context() -> None:
    shared = read('{"context": {"user": 7}, "examples": [{"a": 1}, {"a": 2}]}').example_list_with_context
    assert feature(shared.context, "user") == ("int64_list", [7])
    assert [feature(example, "a")[1] for example in shared.examples] == [[1], [2]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": {}}', "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "'examples' value is an empty array"),
        ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
        ('{"context": [], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"a": null}]}', "Feature: a has element with unexpected JSON type: Null"),
        ('{"examples": [{"a": [[1]]}]}', "Feature: a has element with unexpected JSON type: Array"),
        ('{"examples": [{"a": {"c": 1}}]}', "Feature: a has element with unexpected JSON type: Object"),
        ('{"examples": [{"a": [1, 2.5]}]}', "Unexpected element type in feature: a expecting type: int64"),
        ('{"examples": [{"a": ["x", 1]}]}', "Unexpected element type in feature: a expecting type: bytes"),
        ('{"examples": [{"a": [2.5, "x"]}]}', "Unexpected element type in feature: a expecting type: float"),
        (f'{{"examples": [{{"a": {2**63}}}]}}', "Feature: a has uint64 element. Only int64 is supported."),
        ('{"examples": [{"a": 1e300}]}', "Cannot convert JSON value: 1e+300 to float without loss of precision."),
        (f'{{"examples": [{{"a": {"9" * 400}}}]}}', "to float without loss of precision."),
        ('{"examples": [{"a": {"b64": "*"}}]}', "Unable to base64 decode"),
    ],
)
def test_refuses_what_tf_serving_refuses(body: str, message: str) -> None:
    with pytest.raises(StatusError) as error:
        read(body)
    assert message in error.value.message
    assert error.value.code.name == "INVALID_ARGUMENT"


def test_a_name_that_is_no_text_breaks_nothing() -> None:
    assert read(r'{"examples": [{"\ud800": "\ud800"}]}').example_list.examples


def test_writes_results() -> None:
    classes = [{"label": "a", "score": 0.5}, {"label": 'b"', "score": float("nan")}]
    result = classification_pb2.ClassificationResult(classifications=[{"classes": classes}])
    assert json_examples.write_classifications(result) == b'{"results": [[["a", 0.5], ["b\\"", NaN]]]}'
    regressions = regression_pb2.RegressionResult(regressions=[{"value": 1}, {"value": 0.25}])
    assert json.loads(json_examples.write_regressions(regressions)) == {"results": [1.0, 0.25]}
