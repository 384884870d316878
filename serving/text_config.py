"""TF Serving's config files: protobuf text format, read into their messages.

The messages that `tensorflow-serving-api` does not ship are built here. Their field names and types are those of
`tensorflow_serving/servables/tensorflow/session_bundle_config.proto` (BatchingParameters) and
`tensorflow_serving/config/{monitoring_config,ssl_config}.proto`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from feature_store.descriptors import messages

_CLASSES = messages(
    "antiphon.serving.config",
    {
        "Int64Value": [("value", 1, "int64")],
        "StringValue": [("value", 1, "string")],
        "BoolValue": [("value", 1, "bool")],
        "BatchingParameters": [
            ("max_batch_size", 1, "Int64Value"),
            ("batch_timeout_micros", 2, "Int64Value"),
            ("max_enqueued_batches", 3, "Int64Value"),
            ("num_batch_threads", 4, "Int64Value"),
            ("thread_pool_name", 5, "StringValue"),
            ("allowed_batch_sizes", 6, "int64[]"),
            ("pad_variable_length_inputs", 7, "bool"),
            ("max_execution_batch_size", 9, "Int64Value"),
            ("enable_large_batch_splitting", 10, "BoolValue"),
        ],
        "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
        "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig")],
        "SSLConfig": [
            ("server_key", 1, "string"),
            ("server_cert", 2, "string"),
            ("custom_ca", 3, "string"),
            ("client_verify", 4, "bool"),
        ],
    },
)
BatchingParameters = _CLASSES["BatchingParameters"]
MonitoringConfig = _CLASSES["MonitoringConfig"]
SSLConfig = _CLASSES["SSLConfig"]


def read(path: str | Path, message: type) -> Any:
    """The message of class `message` that the file holds.

    Raises:
        ValueError: the file does not hold one.
        OSError: it cannot be read.
    """
    name = message.DESCRIPTOR.name
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a {name}: {error}") from error
