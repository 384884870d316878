"""The embedded server: TF Serving's gRPC and REST APIs, flags and files, in one process.

python -m serving.server --model_name=sasrec --model_base_path=export/sasrec
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving import model_config
from serving.config import ServeConfig
from serving.grpc_api import ModelService, PredictionService
from serving.http_server import HttpServer
from serving.metrics import Metrics
from serving.model_config import ModelConfig
from serving.registry import ModelRegistry
from serving.rest_api import RestApi

log = logging.getLogger(__name__)


class Server:
    """Serves the models of `models` over gRPC and REST.

    `start` returns once each model's newest version is loaded and both ports answer; `grpc_port` and
    `rest_port` then say which they are. A model whose folder has no version yet is served from when it has
    one.

    Args:
        models: model name → the folder with its version folders, or full model configs.
    """

    def __init__(self, models: dict[str, Path] | Sequence[ModelConfig], config: ServeConfig):
        if isinstance(models, dict):
            models = [ModelConfig(name, Path(path)) for name, path in models.items()]
        self._models = list(models)
        self._config = config
        self.grpc_port = 0
        self.rest_port = 0

    def start(self) -> None:
        """Loads the models, then opens the ports.

        Raises:
            OSError: a port is taken.
        """
        config = self._config
        metrics = Metrics()
        self._registry = ModelRegistry(self._models, config.poll_seconds)
        try:
            self._grpc = grpc.server(
                ThreadPoolExecutor(config.threads, thread_name_prefix="grpc"),
                options=[
                    ("grpc.so_reuseport", 0),
                    ("grpc.max_receive_message_length", config.max_request_bytes),
                    ("grpc.max_send_message_length", -1),
                ],
            )
            prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
                PredictionService(self._registry, metrics), self._grpc
            )
            model_service_pb2_grpc.add_ModelServiceServicer_to_server(
                ModelService(self._registry), self._grpc
            )
            self.grpc_port = _bind(self._grpc, config)
            self._http = HttpServer(RestApi(self._registry, metrics), config)
        except OSError:
            self._registry.stop()
            raise
        self.rest_port = self._http.port
        self._grpc.start()
        self._http.start()

    def stop(self) -> None:
        """Takes no new request, waits for those under way (at most `drain_seconds`), unloads the models."""
        drained = self._grpc.stop(self._config.drain_seconds)
        self._http.stop()
        drained.wait()
        self._registry.stop()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _bind(server: grpc.Server, config: ServeConfig) -> int:
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"{host}:{config.grpc_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"serve.grpc_port: cannot listen on {address}: {error}") from error
    if port == 0:
        raise OSError(f"serve.grpc_port: cannot listen on {address}")
    return port


def run(models: dict[str, Path] | Sequence[ModelConfig], config: ServeConfig) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns. Must run on the main thread.

    Prints one line once it answers: `ready grpc=HOST:PORT rest=HOST:PORT models=NAME,…`.

    Args:
        models: model name → the folder with its version folders, or full model configs.
    """
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    tf.get_logger().setLevel(logging.ERROR)
    server = Server(models, config)
    try:
        server.start()
        names = ",".join(model.name for model in server._models)
        print(
            f"ready grpc={config.host}:{server.grpc_port} rest={config.host}:{server.rest_port} "
            f"models={names}",
            flush=True,
        )
        told.wait()
        log.info("stopping: waiting at most %s s for requests under way", config.drain_seconds)
        server.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__.splitlines()[0])
    defaults = ServeConfig()
    parser.add_argument(
        "--port", type=int, default=defaults.grpc_port, help="gRPC port; 0 takes any free one"
    )
    parser.add_argument(
        "--rest_api_port", type=int, default=defaults.rest_port, help="REST port; 0 takes any free one"
    )
    parser.add_argument("--host", default=defaults.host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--model_name", default="default", help="name of the one model (default: %(default)s)"
    )
    parser.add_argument("--model_base_path", type=Path, help="folder with the model's version folders")
    parser.add_argument(
        "--model_config_file", type=Path, help="ModelServerConfig in text form, instead of one model"
    )
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=defaults.poll_seconds,
        help="how often to look for new versions; 0: only at the start (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if (args.model_base_path is None) == (args.model_config_file is None):
        parser.error("give either --model_base_path or --model_config_file")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if args.model_config_file is not None:
            models = model_config.read(args.model_config_file)
        else:
            models = [ModelConfig(args.model_name, args.model_base_path)]
        config = dataclasses.replace(
            defaults,
            host=args.host,
            grpc_port=args.port,
            rest_port=args.rest_api_port,
            poll_seconds=args.file_system_poll_wait_seconds,
        )
        run(models, config)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
