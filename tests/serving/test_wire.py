"""The client's own messages put the same bytes on the wire as TF Serving's."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from feature_store.prediction_log import DT_FLOAT, DT_STRING
from serving import wire


def test_a_predict_request_reads_as_tf_servings() -> None:
    ours = wire.PredictRequest()
    ours.model_spec.name = "m"
    ours.model_spec.version.value = 3
    ours.model_spec.signature_name = "score"
    tensor = ours.inputs["history"]
    tensor.dtype = DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.tensor_shape.dim.add(size=2)
    tensor.string_val.extend([b"a", b"\xff"])

    theirs = predict_pb2.PredictRequest()
    theirs.model_spec.name = "m"
    theirs.model_spec.version.value = 3
    theirs.model_spec.signature_name = "score"
    theirs.inputs["history"].CopyFrom(tf.make_tensor_proto([[b"a", b"\xff"]]))
    assert predict_pb2.PredictRequest.FromString(ours.SerializeToString()) == theirs


def test_reads_tf_servings_predict_response() -> None:
    theirs = predict_pb2.PredictResponse()
    theirs.model_spec.version.value = 3
    theirs.outputs["scores"].dtype = tf.float32.as_datatype_enum
    theirs.outputs["scores"].tensor_shape.dim.add(size=2)
    theirs.outputs["scores"].float_val.extend([0.5, -1.0])
    ours = wire.PredictResponse.FromString(theirs.SerializeToString())
    assert ours.outputs["scores"].dtype == DT_FLOAT
    assert list(ours.outputs["scores"].float_val) == [0.5, -1.0]
    assert [dim.size for dim in ours.outputs["scores"].tensor_shape.dim] == [2]
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


def test_reads_tf_servings_model_status() -> None:
    theirs = get_model_status_pb2.GetModelStatusResponse()
    entry = theirs.model_version_status.add(version=2, state="END")
    entry.status.error_code = 5
    entry.status.error_message = "gone"
    (ours,) = wire.GetModelStatusResponse.FromString(theirs.SerializeToString()).model_version_status
    assert (ours.version, wire.STATES[ours.state]) == (2, "END")
    assert (ours.status.error_code, ours.status.error_message) == (5, "gone")


def test_names_every_state() -> None:
    states = get_model_status_pb2.ModelVersionStatus.State
    assert {number: name for name, number in states.items()} == wire.STATES
