"""TF Serving's command-line flags over `ServeConfig`: the same names, the same meaning.

A flag that is not given leaves the config's own value. Importing this file does not import TensorFlow.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from serving.config import ServeConfig


def _flag(text: str) -> bool:
    values = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")
    return values[text.lower()]


# flag → (field of ServeConfig, type, what it does)
_SETTINGS = {
    "port": ("grpc_port", int, "gRPC port; 0 takes any free one"),
    "rest_api_port": ("rest_port", int, "REST port; 0 takes any free one"),
    "host": ("host", str, "address to listen on"),
    "grpc_socket_path": ("grpc_socket_path", str, "Unix socket that answers gRPC too"),
    "ssl_config_file": ("ssl_config_file", str, "SSLConfig in text form: gRPC over TLS"),
    "grpc_max_threads": ("grpc_threads", int, "gRPC requests worked on at once"),
    "grpc_channel_arguments": ("grpc_channel_arguments", str, "key=value,… for the gRPC server"),
    "rest_api_num_threads": ("rest_threads", int, "REST requests worked on at once"),
    "rest_api_timeout_in_ms": ("rest_timeout_ms", int, "time a REST request may take; 0: no limit"),
    "rest_api_enable_cors_support": ("rest_cors", _flag, "send CORS headers"),
    "model_config_file": ("model_config_file", str, "ModelServerConfig in text form, instead of one model"),
    "model_config_file_poll_wait_seconds": (
        "model_config_poll_seconds",
        float,
        "how often to read that file again; 0: only at the start",
    ),
    "file_system_poll_wait_seconds": (
        "poll_seconds",
        float,
        "how often to look for new versions; 0: only at the start",
    ),
    "allow_version_labels_for_unavailable_models": (
        "allow_version_labels_for_unavailable_models",
        _flag,
        "let a new label name a version that is not loaded yet",
    ),
    "saved_model_tags": ("saved_model_tags", str, "tags of the graph to load, comma-separated"),
    "enable_model_warmup": ("enable_model_warmup", _flag, "replay a version's warmup requests"),
    "num_request_iterations_for_warmup": (
        "num_request_iterations_for_warmup",
        int,
        "how often each warmup request is replayed; 0: once",
    ),
    "enable_signature_method_name_check": (
        "enable_signature_method_name_check",
        _flag,
        "refuse a signature of another method",
    ),
    "enable_serialization_as_tensor_content": (
        "enable_serialization_as_tensor_content",
        _flag,
        "answer Predict's numbers as tensor_content",
    ),
    "enable_grpc_healthcheck_service": (
        "enable_grpc_healthcheck_service",
        _flag,
        "answer gRPC's standard health check",
    ),
    "enable_retrieval": ("enable_retrieval", _flag, "load each version's retrieval index, and answer Retrieve"),
    "enable_batching": ("enable_batching", _flag, "put requests together into batches"),
    "batching_parameters_file": ("batching_parameters_file", str, "BatchingParameters in text form"),
    "enable_per_model_batching_parameters": (
        "enable_per_model_batching_parameters",
        _flag,
        "take a model's batching parameters from batching_params.pbtxt in its version folder",
    ),
    "monitoring_config_file": ("monitoring_config_file", str, "MonitoringConfig in text form"),
    "served_log": ("served_log", str, "folder that answered requests are written to"),
    "served_log_sampling_rate": ("served_log_sampling_rate", float, "share of the requests that are written"),
    "served_log_queue_bytes": ("served_log_queue_bytes", int, "rows that may wait for the disk; more are dropped"),
    "served_log_segment_bytes": ("served_log_segment_bytes", int, "size at which a file of the log ends"),
    "served_log_segment_seconds": ("served_log_segment_seconds", float, "age at which a file of the log ends"),
    "served_log_sync_seconds": ("served_log_sync_seconds", float, "how often the log is flushed to the disk"),
    "tensorflow_session_config_file": ("tensorflow_session_config_file", str, "ConfigProto in text form"),
    "tensorflow_session_parallelism": ("tensorflow_session_parallelism", int, "threads of a session"),
    "tensorflow_intra_op_parallelism": ("tensorflow_intra_op_parallelism", int, "threads of an operation"),
    "tensorflow_inter_op_parallelism": ("tensorflow_inter_op_parallelism", int, "operations at once"),
    "per_process_gpu_memory_fraction": ("per_process_gpu_memory_fraction", float, "share of the GPU's memory"),
    "max_request_bytes": ("max_request_bytes", int, "larger requests are refused"),
    "max_tensor_bytes": ("max_tensor_bytes", int, "requests with a larger tensor are refused"),
    "max_requests": ("max_requests", int, "requests held at once; more are refused"),
}

# Taken, so that a command line written for TF Serving starts this server too; they change nothing here.
_WITHOUT_EFFECT = (
    "flush_filesystem_caches",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "remove_unused_fields_from_bundle_metagraph",
    "enable_profiler",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
)


def add(parser: argparse.ArgumentParser) -> None:
    """Adds every flag but those that name the one model."""
    defaults = ServeConfig()
    for name, (field, kind, text) in _SETTINGS.items():
        default = getattr(defaults, field)
        more = f" (default: {default})" if default not in ("", None) else ""
        options = {"nargs": "?", "const": True} if kind is _flag else {}
        parser.add_argument(
            f"--{name}", type=kind, dest=field, default=argparse.SUPPRESS, metavar="VALUE", help=text + more, **options
        )
    for name in _WITHOUT_EFFECT:
        parser.add_argument(f"--{name}", nargs="?", dest=name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the one model; both are ignored with --model_config_file, as in TF Serving."""
    parser.add_argument("--model_name", default="default", help="name of the one model (default: %(default)s)")
    parser.add_argument("--model_base_path", type=Path, help="folder with the model's version folders")


def applied(options: argparse.Namespace, config: ServeConfig) -> ServeConfig:
    """`config` with the flags given put over it.

    Raises:
        ValueError: a value does not keep its field's rule.
    """
    fields = {field for field, _, _ in _SETTINGS.values()}
    given = {field: value for field, value in vars(options).items() if field in fields}
    return dataclasses.replace(config, **given)


def without_effect(options: argparse.Namespace) -> list[str]:
    """The flags given that change nothing in this server."""
    return [name for name in _WITHOUT_EFFECT if hasattr(options, name)]
