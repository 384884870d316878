from __future__ import annotations

import pytest

from serving.metrics import Metrics
from serving.status import invalid_argument


def test_counts_requests_and_their_latency() -> None:
    metrics = Metrics()
    with metrics.observe("m", "Predict", "GRPC"):
        pass
    with pytest.raises(ValueError), metrics.observe("m", "Predict", "GRPC"):
        raise ValueError
    with pytest.raises(Exception, match="no"), metrics.observe('a"b', "Predict", "REST"):
        raise invalid_argument("no")
    lines = metrics.page().splitlines()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1' in lines
    assert ':tensorflow:serving:request_count{model_name="m",status="INTERNAL"} 1' in lines
    assert ':tensorflow:serving:request_count{model_name="a\\"b",status="INVALID_ARGUMENT"} 1' in lines
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    assert f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}} 1' in lines
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 1" in lines
