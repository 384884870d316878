from __future__ import annotations

import pickle

import grpc
import pytest

from serving import errors
from serving.errors import ServingError, Target, failure
from serving.status import StatusError


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("here:8500", "m"), "model m (its newest version) at here:8500"),
        (Target("here:8500", "m", version=3), "model m (version 3) at here:8500"),
        (Target("here:8500", "m", label="stable"), "model m (label stable) at here:8500"),
    ],
)
def test_a_target_names_model_version_or_label_and_address(target: Target, text: str) -> None:
    assert str(target) == text


def test_each_kind_of_failure_is_a_class_of_its_own_under_one() -> None:
    target = Target("here:8500", "m")
    found = {code: type(failure(target, StatusError(code, "why"), 1)) for code in grpc.StatusCode}
    assert found[grpc.StatusCode.UNAVAILABLE] is errors.Unavailable
    assert found[grpc.StatusCode.DEADLINE_EXCEEDED] is errors.DeadlineExceeded
    assert found[grpc.StatusCode.INVALID_ARGUMENT] is errors.InvalidArgument
    assert found[grpc.StatusCode.FAILED_PRECONDITION] is errors.FailedPrecondition
    assert found[grpc.StatusCode.NOT_FOUND] is errors.NotFound
    assert found[grpc.StatusCode.RESOURCE_EXHAUSTED] is errors.ResourceExhausted
    assert found[grpc.StatusCode.INTERNAL] is ServingError
    assert all(issubclass(kind, ServingError) for kind in found.values())


def test_says_how_often_it_was_tried_and_crosses_processes_whole() -> None:
    error = failure(Target("here:8500", "m", 2), StatusError(grpc.StatusCode.UNAVAILABLE, "gone"), 3)
    assert str(error) == "model m (version 2) at here:8500: UNAVAILABLE: gone (tried 3 times)"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (errors.Unavailable, str(error))
    assert (copy.target, copy.code, copy.message, copy.attempts) == (error.target, error.code, error.message, 3)
