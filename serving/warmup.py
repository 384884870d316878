"""Replays a SavedModel's recorded requests, so that its first real one is not the slow one."""

from __future__ import annotations

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.predict import DEFAULT_SIGNATURE, SavedModel
from serving.status import StatusError, from_number, invalid_argument

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000


def replay(model: SavedModel) -> int:
    """Runs every request of the model's warmup file, a TFRecord of `tensorflow.serving.PredictionLog`.

    Returns:
        How many were run; 0 where there is no such file.

    Raises:
        StatusError: the file is broken, holds too many records or other logs than predict's, or a request
        failed.
    """
    path = model.folder / WARMUP_FILE
    if not path.exists():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            if count > MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
                )
            _run(model, record, f"record {count} of {path}")
    except tf.errors.OpError as error:
        raise from_number(
            error.error_code,
            f"{path}: {error.message}. Please verify your warmup data is in TFRecord format.",
        ) from error
    return count


def _run(model: SavedModel, record: bytes, where: str) -> None:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record: {where}") from error
    kind = log.WhichOneof("log_type")
    if kind != "predict_log":
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind} ({where})")
    request = log.predict_log.request
    try:
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        model.predict_protos(name, request.inputs, request.output_filter)
    except StatusError as error:
        raise StatusError(error.code, f"warmup request failed ({where}): {error.message}") from error
