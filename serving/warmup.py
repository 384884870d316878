"""Replays a SavedModel's recorded requests, so that its first real one is not the slow one."""

from __future__ import annotations

import time

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving import classify, examples, multi_inference, regress
from serving.predict import DEFAULT_SIGNATURE, SavedModel
from serving.status import StatusError, from_number, invalid_argument

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000


def replay(model: SavedModel) -> int:
    """Runs every request of the model's warmup file, a TFRecord of `tensorflow.serving.PredictionLog`.

    Each is run as often as the model's runtime says.

    Returns:
        How many there are; 0 where there is no such file, or the runtime leaves warmup out.

    Raises:
        StatusError: the file is broken, holds too many records or a log of another kind than predict, classify,
            regress and multi-inference, or a request failed.
    """
    path = model.folder / WARMUP_FILE
    rounds = model.runtime.warmup_rounds
    if not rounds or not path.exists():
        return 0
    start = time.perf_counter()
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            if count > MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
                )
            for _ in range(rounds):
                _run(model, record, f"record {count} of {path}")
    except tf.errors.OpError as error:
        raise from_number(
            error.error_code,
            f"{path}: {error.message}. Please verify your warmup data is in TFRecord format.",
        ) from error
    microseconds = (time.perf_counter() - start) * 1e6
    model.runtime.metrics.warmup_latency.observe((str(model.folder), "OK"), microseconds)
    return count


def _run(model: SavedModel, record: bytes, where: str) -> None:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record: {where}") from error
    try:
        _ask(model, log)
    except StatusError as error:
        raise StatusError(error.code, f"warmup request failed ({where}): {error.message}") from error


def _ask(model: SavedModel, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        model.predict_protos(name, request.inputs, request.output_filter)
    elif kind == "classify_log":
        request = log.classify_log.request
        examples.ask(classify, model, request.model_spec.signature_name, request.input)
    elif kind == "regress_log":
        request = log.regress_log.request
        examples.ask(regress, model, request.model_spec.signature_name, request.input)
    elif kind == "multi_inference_log":
        multi_inference.run(model, log.multi_inference_log.request)
    elif kind is not None:
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
