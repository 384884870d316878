from __future__ import annotations

import pytest
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import input_pb2

from serving import examples
from serving.status import StatusError


def test_each_example_is_merged_with_the_context(example) -> None:
    shared = {"context": example(x=[1], y=[2]), "examples": [example(x=[3]), example(z=[4])]}
    merged = examples.serialized(input_pb2.Input(example_list_with_context=shared))
    first, second = (example_pb2.Example.FromString(text) for text in merged)
    assert first == example(x=[3], y=[2])
    assert second == example(x=[1], y=[2], z=[4])


def test_a_list_is_taken_as_it_is(example) -> None:
    (text,) = examples.serialized(input_pb2.Input(example_list={"examples": [example(x=[1])]}))
    assert example_pb2.Example.FromString(text) == example(x=[1])


@pytest.mark.parametrize("kind", [{}, {"example_list": {}}, {"example_list_with_context": {"context": {}}}])
def test_refuses_no_examples(kind: dict) -> None:
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: Input is empty."):
        examples.serialized(input_pb2.Input(**kind))
