from __future__ import annotations

from pathlib import Path

import pytest

from serving import batch_parameters
from serving.batch_parameters import BatchParameters


def read(tmp_path: Path, text: str) -> BatchParameters:
    path = tmp_path / "batching.config"
    path.write_text(text)
    return batch_parameters.read(path)


def test_reads_what_tf_servings_guide_shows(tmp_path: Path) -> None:
    text = """
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 0 }
        max_enqueued_batches { value: 1000000 }
        num_batch_threads { value: 8 }
        thread_pool_name { value: "pool" }
        allowed_batch_sizes: 32
        allowed_batch_sizes: 128
        pad_variable_length_inputs: true
    """
    assert read(tmp_path, text) == BatchParameters(128, 0, 1000000, 8, "pool", (32, 128), True)


def test_what_is_not_given_keeps_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "max_batch_size { value: 7 }") == BatchParameters(max_batch_size=7)


def test_large_requests_may_be_split_into_smaller_batches(tmp_path: Path) -> None:
    text = """max_batch_size { value: 8 } enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 4"""
    assert read(tmp_path, text).execution_batch_size == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "batching.config: not a BatchingParameters: "),
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        (
            """max_batch_size { value: 8 } enable_large_batch_splitting { value: true }
            max_execution_batch_size { value: 9 }""",
            "input_batch_size_limit must be greater than or equal to max_execution_batch_size; was 9 over 8",
        ),
    ],
)
def test_refuses_what_tf_serving_refuses(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert "batching.config" in str(error.value)


def test_rounds_up_to_an_allowed_size() -> None:
    parameters = BatchParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert [parameters.padded_size(rows) for rows in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert BatchParameters().padded_size(5) == 5


def test_a_version_brings_its_own_but_for_the_threads(tmp_path: Path) -> None:
    shared = BatchParameters(max_batch_size=3, num_batch_threads=5, thread_pool_name="shared")
    assert batch_parameters.of_model(tmp_path, shared) is None
    (tmp_path / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 10 } num_batch_threads { value: 1 }"
    )
    own = batch_parameters.of_model(tmp_path, shared)
    assert own == BatchParameters(max_batch_size=10, num_batch_threads=5, thread_pool_name="shared")
