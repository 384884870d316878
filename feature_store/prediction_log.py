"""TF Serving's messages of a request and its answer, as the served log keeps them, without importing TensorFlow.

Field names, numbers and types are those of `tensorflow/core/framework/tensor.proto` and
`tensorflow_serving/apis/{model,predict,prediction_log,logging}.proto`. `PredictionLog.row` is our own, under a number
that TF Serving's message does not use: its readers pass over it, so a segment of the log is a valid file of
`PredictionLog`s, for warmup too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from feature_store.descriptors import Fields, messages

PREDICT: dict[str, Fields] = {
    "Dim": [("size", 1, "int64")],
    "TensorShape": [("dim", 2, "Dim[]")],
    "Tensor": [
        ("dtype", 1, "int32"),
        ("tensor_shape", 2, "TensorShape"),
        ("tensor_content", 4, "bytes"),
        ("float_val", 5, "float[]"),
        ("double_val", 6, "double[]"),
        ("int_val", 7, "int32[]"),
        ("string_val", 8, "bytes[]"),
        ("int64_val", 10, "int64[]"),
        ("bool_val", 11, "bool[]"),
    ],
    "Version": [("value", 1, "int64")],
    "ModelSpec": [
        ("name", 1, "string"),
        ("version", 2, "Version"),
        ("signature_name", 3, "string"),
        ("version_label", 4, "string"),
    ],
    "PredictRequest": [
        ("model_spec", 1, "ModelSpec"),
        ("inputs", 2, "map Tensor"),
        ("output_filter", 3, "string[]"),
    ],
    "PredictResponse": [("outputs", 1, "map Tensor"), ("model_spec", 2, "ModelSpec")],
}
_CLASSES = messages(
    "antiphon.served_log",
    {
        **PREDICT,
        "SamplingConfig": [("sampling_rate", 1, "double")],
        "LogMetadata": [
            ("model_spec", 1, "ModelSpec"),
            ("sampling_config", 2, "SamplingConfig"),
            ("timestamp_secs", 4, "int64"),
        ],
        "Exchange": [("request", 1, "bytes"), ("response", 2, "bytes")],  # of any API: messages, left as bytes
        "Row": [
            ("id", 1, "string"),
            ("time", 2, "int64"),
            ("seconds", 3, "double"),
            ("protocol", 4, "string"),
            ("context", 5, "bytes"),
        ],
        "PredictionLog": [
            ("log_metadata", 1, "LogMetadata"),
            ("classify_log", 2, "Exchange"),
            ("regress_log", 3, "Exchange"),
            ("predict_log", 6, "Exchange"),
            ("multi_inference_log", 4, "Exchange"),
            ("row", 1000, "Row"),
        ],
    },
)
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
PredictionLog = _CLASSES["PredictionLog"]
LOGS = {
    "Predict": "predict_log",
    "Classify": "classify_log",
    "Regress": "regress_log",
    "MultiInference": "multi_inference_log",
}

DT_FLOAT = 1
DT_STRING = 7
# DataType (tensorflow/core/framework/types.proto) → (numpy's type, field of the values)
TYPES: dict[int, tuple[np.dtype, str]] = {
    DT_FLOAT: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    4: (np.dtype(np.uint8), "int_val"),
    5: (np.dtype(np.int16), "int_val"),
    6: (np.dtype(np.int8), "int_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(np.bool_), "bool_val"),
}


def tensor_array(name: str, tensor: Any, fill: bool = False) -> np.ndarray:
    """The array a `Tensor` holds; strings are str, or bytes where `name` ends in "_bytes", as in TF Serving's REST API.

    Args:
        fill: whether too few values are filled up with the last one, and none at all with zeros or "", as TensorFlow
            does with what it is sent.

    Raises:
        ValueError: a type that is not read here, or values that are not of the tensor's shape.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == DT_STRING:
        empty: Any = b"" if name.endswith("_bytes") else ""
        values = tensor.string_val if empty == b"" else [value.decode() for value in tensor.string_val]
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
    elif tensor.dtype not in TYPES:
        raise ValueError(f"type {tensor.dtype} is not read here")
    else:
        empty = 0
        dtype, field = TYPES[tensor.dtype]
        content = tensor.tensor_content
        array = np.frombuffer(content, dtype) if content else np.array(getattr(tensor, field), dtype)
    if fill and (missing := math.prod(shape) - len(array)) > 0:
        last = array[-1] if len(array) else empty
        array = np.concatenate([array, np.full(missing, last, array.dtype)])
    return array.reshape(shape)
