"""A small model with a recorded request, for the benchmarks of serving."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2


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
