"""How answers are compared; that a log is sent to a real server stands in test_served_log.py."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store.prediction_log import DT_FLOAT, DT_STRING, PredictResponse
from feature_store.served_log import ServedRow
from serving.replay import Comparison, Replay


def row(seconds: float = 0.001, **outputs: list) -> ServedRow:
    response = PredictResponse()
    for name, values in outputs.items():
        array, tensor = np.array(values), response.outputs[name]
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        if array.dtype.kind == "U":
            tensor.dtype = DT_STRING
            tensor.string_val.extend(value.encode() for value in array.ravel())
        else:
            tensor.dtype = DT_FLOAT
            tensor.float_val.extend(array.ravel().tolist())
    return ServedRow("s-0", 0, seconds, "Predict", "GRPC", "m", 3, "s", b"", b"", response.SerializeToString())


def arrays(**outputs: list) -> dict[str, np.ndarray]:
    return {name: np.array(values, object if name == "items" else np.float32) for name, values in outputs.items()}


def test_lists_are_compared_row_by_row_among_their_first_k() -> None:
    found = Comparison(k=2)
    logged = row(items=[["a", "b", "c"], ["a", "b", ""]], scores=[[3.0, 2.0, 1.0], [3.0, 2.0, -9.0]])
    now = arrays(items=[["a", "c", "b"], ["a", "b", "c"]], scores=[[3.5, 2.0, 1.0], [3.0, 2.0, 1.0]])
    found.answered(logged, now, 4, 0.003)
    report = found.report()
    assert report["top_k"] == {
        "k": 2,
        "lists": 2,
        "overlap": 0.75,  # {a, b} and {a, c} share one of two
        "same_order": 0.5,
        "same_first": 1.0,
        "score_difference_mean": pytest.approx(0.5 / 3),
        "score_difference_max": 0.5,
    }
    assert report["versions"] == {"logged": {"m/3": 1}, "replayed": {"4": 1}}
    assert report["latency_ms"] == {"logged": {"p50": 1.0, "p99": 1.0}, "replayed": {"p50": 3.0, "p99": 3.0}}


def test_other_outputs_are_compared_value_by_value() -> None:
    found = Comparison(k=2)
    found.answered(row(vector=[[1.0, 2.0]]), arrays(vector=[[1.0, 2.5]]), None, 0.1)
    found.answered(row(vector=[[1.0, 2.0]]), arrays(vector=[[1.0]]), None, 0.1)
    assert found.report()["outputs"] == {
        "s.vector": {"values": 4, "equal": 0.25, "difference_mean": 0.25, "difference_max": 0.5, "other_shape": 1}
    }


def test_failures_are_counted_by_what_they_say() -> None:
    found = Comparison(k=1)
    found.failed(ValueError("no"))
    found.failed(ValueError("no"))
    found.skipped(row())
    report = found.report()
    assert (report["answered"], report["failed"], report["skipped"]) == (0, 2, 1)
    assert report["errors"] == {"ValueError: no": 2}
    assert "top_k" not in report


def test_a_server_that_is_not_there_fails_requests_not_the_replay() -> None:
    report = Replay("127.0.0.1:1", timeout=0.5).run([row(x=[1.0]), row(x=[1.0])])
    assert (report["answered"], report["failed"]) == (0, 2)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="clients must be at least 1"):
        Replay("h:1", clients=0)
