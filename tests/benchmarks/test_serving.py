from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from benchmarks import serving


class Popular(tf.Module):
    """Answers each history with the same item."""

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
    def recommend(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.shape(history)[0]
        return {"items": tf.fill((batch, 1), "a"), "scores": tf.fill((batch, 1), 1.0)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A version folder with one recorded request."""
    module, folder = Popular(), tmp_path / "7"
    tf.saved_model.save(module, str(folder), signatures=module.recommend)
    request = predict_pb2.PredictRequest()
    request.inputs["history"].CopyFrom(tf.make_tensor_proto([["b", "c"]]))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    return folder


def test_measures_every_way_in_one_run(model: Path, capfd) -> None:
    flags = ["--model", str(model), "--requests", "6", "--rounds", "1", "--clients", "1", "2"]
    assert serving.main(flags) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures["machine"]["cores"] >= 1
    assert figures["histories"] == 1
    for way in ("in_process", "grpc", "rest", "grpc_batched", "rest_batched"):
        for clients in ("1", "2"):
            row = figures["latency_by_clients"][way][clients]
            assert 0 < row["p50_ms"] <= row["p99_ms"]
            assert row["requests_per_second"] > 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [("saved_model.pb", "no saved_model.pb in it"), ("assets.extra", "no tf_serving_warmup_requests in it")],
)
def test_needs_a_model_and_its_requests(
    model: Path, tmp_path: Path, capsys, missing: str, message: str
) -> None:
    (model / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit):
        serving.main(["--model", str(model)])
    assert message in capsys.readouterr().err


def test_needs_to_be_told_the_model(capsys) -> None:
    with pytest.raises(SystemExit):
        serving.main([])
    assert "the following arguments are required: --model" in capsys.readouterr().err
