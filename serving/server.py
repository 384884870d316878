"""The embedded server: TF Serving's gRPC and REST APIs, flags and files, in one process.

python -m serving.server --model_name=sasrec --model_base_path=export/sasrec
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from feature_store.end_signals import until_told
from serving import flags, health, model_config, runtime, text_config, tls
from serving.config import ServeConfig
from serving.config_watch import ModelConfigWatch
from serving.grpc_api import ModelService, PredictionService, RetrievalService
from serving.http_server import HttpServer
from serving.inference import Inference
from serving.metrics import PATH
from serving.model_config import ModelConfig
from serving.registry import ModelRegistry
from serving.request_log import RequestLog
from serving.rest_api import RestApi
from serving.status import StatusError

log = logging.getLogger(__name__)

SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


class Server:
    """Serves the models of `models` over gRPC and REST.

    `start` returns once each model's newest version is loaded and both ports answer; `grpc_port` and
    `rest_port` then say which they are. A model whose folder has no version yet is served from when it has
    one.

    Args:
        models: model name → the folder with its version folders, or full model configs. Where `config` names a
            model_config_file, that file's models are served instead.

    Raises:
        ValueError: the model_config_file is not one.
        OSError: it cannot be read.
    """

    def __init__(self, models: dict[str, Path] | Sequence[ModelConfig], config: ServeConfig):
        if config.model_config_file:
            models = model_config.read(Path(config.model_config_file))
        elif isinstance(models, dict):
            models = [ModelConfig(name, Path(path)) for name, path in models.items()]
        self._models = list(models)
        self._config = config
        self.grpc_port = 0
        self.rest_port = 0

    @property
    def names(self) -> list[str]:
        """The models it started with."""
        return [model.name for model in self._models]

    def start(self) -> None:
        """Loads the models, then opens the ports.

        Raises:
            StatusError: a label names a version that is not loaded.
            ValueError: a file the config names cannot be read as what it should be.
            OSError: a port is taken, or a file cannot be read.
        """
        config = self._config
        metrics_path = _metrics_path(config)
        credentials = tls.credentials(config.ssl_config_file) if config.ssl_config_file else None
        self._runtime = runtime.from_config(config)
        metrics = self._runtime.metrics
        request_log = RequestLog(config, metrics)  # the registry tells it when all models are gone
        try:
            self._registry = ModelRegistry(
                self._models,
                config.poll_seconds,
                self._runtime,
                config.allow_version_labels_for_unavailable_models,
                request_log.serve,
            )
        except (StatusError, OSError):
            request_log.close()
            self._runtime.stop()
            raise
        inference = Inference(self._registry, metrics, config.enable_serialization_as_tensor_content)
        try:
            self._grpc = _grpc_server(config)
            prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
                PredictionService(self._registry, inference, metrics, request_log), self._grpc
            )
            model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self._registry), self._grpc)
            if config.enable_retrieval:
                RetrievalService(self._registry, metrics).add_to(self._grpc)
            if config.enable_grpc_healthcheck_service:
                health.add_to(self._grpc, SERVICES)
            self.grpc_port = _bind(self._grpc, config, credentials)
            timeout = config.rest_timeout_ms / 1000 or None
            api = RestApi(self._registry, inference, metrics, request_log, metrics_path, timeout, config.rest_cors)
            self._http = HttpServer(api, config)
        except OSError:
            self._registry.stop()
            self._runtime.stop()
            raise
        self.rest_port = self._http.port
        self._watch: ModelConfigWatch | None = None
        if config.model_config_file and config.model_config_poll_seconds:
            path = Path(config.model_config_file)
            self._watch = ModelConfigWatch(path, self._registry, config.model_config_poll_seconds)
            self._watch.start()
        self._grpc.start()
        self._http.start()

    def stop(self) -> None:
        """Takes no new request, waits for those under way (at most `drain_seconds`), unloads the models."""
        if self._watch is not None:
            self._watch.stop()
        drained = self._grpc.stop(self._config.drain_seconds)
        self._http.stop()
        drained.wait()
        self._registry.stop()
        self._runtime.stop()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _metrics_path(config: ServeConfig) -> str | None:
    """Where the page of metrics is; None where the monitoring config does not enable it."""
    if not config.monitoring_config_file:
        return PATH
    prometheus = text_config.read(config.monitoring_config_file, text_config.MonitoringConfig).prometheus_config
    return (prometheus.path or PATH) if prometheus.enable else None


def _grpc_server(config: ServeConfig) -> grpc.Server:
    return grpc.server(
        ThreadPoolExecutor(config.grpc_threads or config.threads, thread_name_prefix="grpc"),
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", config.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            *config.channel_arguments(),
        ],
        maximum_concurrent_rpcs=config.max_requests,
    )


def _bind(server: grpc.Server, config: ServeConfig, credentials: grpc.ServerCredentials | None) -> int:
    host = f"[{config.host}]" if ":" in config.host else config.host
    port = _listen(server, f"{host}:{config.grpc_port}", credentials, "serve.grpc_port")
    if config.grpc_socket_path:
        _listen(server, f"unix:{config.grpc_socket_path}", credentials, "serve.grpc_socket_path")
    return port


def _listen(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None, field: str) -> int:
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"{field}: cannot listen on {address}: {error}") from error
    if port == 0:
        raise OSError(f"{field}: cannot listen on {address}")
    return port


def run(models: dict[str, Path] | Sequence[ModelConfig], config: ServeConfig) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns. Must run on the main thread.

    Prints one line once it answers: `ready grpc=HOST:PORT rest=HOST:PORT models=NAME,…`.

    Args:
        models: model name → the folder with its version folders, or full model configs.

    Raises:
        StatusError, ValueError, OSError: as `Server` and `Server.start`.
    """
    with until_told() as told:
        tf.get_logger().setLevel(logging.ERROR)
        server = Server(models, config)
        server.start()
        print(
            f"ready grpc={config.host}:{server.grpc_port} rest={config.host}:{server.rest_port} "
            f"models={','.join(server.names)}",
            flush=True,
        )
        told.wait()
        log.info("stopping: waiting at most %s s for requests under way", config.drain_seconds)
        server.stop()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m serving.server", description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    flags.add_model(parser)
    flags.add(parser)
    spoken = metadata.version("tensorflow-serving-api")
    versions = f"TensorFlow ModelServer: {spoken}, as antiphon speaks it\nTensorFlow Library: {tf.__version__}"
    parser.add_argument("--version", action="version", version=versions, help="tell the versions and end")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = flags.applied(options, ServeConfig())
        if options.model_base_path is None and not config.model_config_file:
            parser.error("give either --model_base_path or --model_config_file")
        for name in flags.without_effect(options):
            log.info("--%s has no effect in this server", name)
        single = {} if config.model_config_file else {options.model_name: options.model_base_path}
        run(single, config)
    except (StatusError, ValueError, OSError) as error:
        parser.exit(1, f"{parser.prog}: Failed to start server. Error: {error}\n")


if __name__ == "__main__":
    main()
