"""Which answered requests go to a served log, and to which: by model, as TF Serving's ServerRequestLogger has it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message
from tensorflow_serving.apis import model_pb2, predict_pb2

from feature_store.request_context import MAX_BYTES
from feature_store.served_log import ServedRow
from serving import tensors
from serving.config import ServeConfig
from serving.inference import Prediction, answered_by
from serving.metrics import Metrics
from serving.model_config import LoggingConfig, ModelConfig
from serving.served_log import Limits, ServedLog
from serving.status import invalid_argument


@dataclass(frozen=True)
class Sampled:
    """A request that is to be logged once it is answered: begun now.

    Attributes:
        api: "Predict", "Classify", "Regress" or "MultiInference".
        protocol: "GRPC" or "REST".
        header: what the caller told beside it.
    """

    log: ServedLog
    rate: float
    api: str
    protocol: str
    header: bytes
    time: int  # microseconds since 1970
    begun: float

    def messages(self, request: Message, response: Message, spec: model_pb2.ModelSpec) -> None:
        """The request was answered. `spec`: by whom."""
        data = request.SerializeToString(), response.SerializeToString()
        self._offer(spec, sum(map(len, data)), lambda: data)

    def arrays(self, spec: model_pb2.ModelSpec, prediction: Prediction, size: int) -> None:
        """As `messages`, for Predict on arrays; the messages are made by the log's own thread.

        Args:
            spec: as asked.
            size: bytes that the two took as they came and went.
        """
        answer = predict_pb2.PredictResponse()
        answered_by(answer.model_spec, spec, prediction.version)

        def build() -> tuple[bytes, bytes]:
            request = predict_pb2.PredictRequest(model_spec=spec)
            for name, array in prediction.inputs.items():
                tensors.to_proto(array, prediction.signature.inputs[name].dtype, request.inputs[name])
            for name, array in prediction.outputs.items():
                tensors.to_proto(array, prediction.signature.outputs[name].dtype, answer.outputs[name])
            return request.SerializeToString(), answer.SerializeToString()

        self._offer(answer.model_spec, size, build)

    def _offer(self, spec: model_pb2.ModelSpec, size: int, build: Callable[[], tuple[bytes, bytes]]) -> None:
        seconds = time.perf_counter() - self.begun
        who = (spec.name, spec.version.value, spec.signature_name)

        def record(row_id: str) -> bytes:
            how = (self.time, seconds, self.api, self.protocol)
            return ServedRow(row_id, *how, *who, self.header, *build()).to_record(self.rate)

        self.log.offer(size + len(self.header), record)


class RequestLog:
    """The served logs of a server: models with the same folder share one.

    Args:
        config: where and how to write; without `served_log` only models with a logging config are logged.
    """

    def __init__(self, config: ServeConfig, metrics: Metrics):
        self._metrics = metrics
        self._limits = Limits(
            config.served_log_queue_bytes,
            config.served_log_segment_bytes,
            config.served_log_segment_seconds,
            config.served_log_sync_seconds,
        )
        own = LoggingConfig(Path(config.served_log), config.served_log_sampling_rate) if config.served_log else None
        self._default = own
        self._changing = threading.Lock()
        self._logs: dict[Path, ServedLog] = {}
        self._models: dict[str, tuple[ServedLog, float]] = {}

    def serve(self, configs: Sequence[ModelConfig]) -> None:
        """Logs exactly these models' requests from now on, each as its config says.

        Raises:
            StatusError: INVALID_ARGUMENT where a log's folder cannot be written to; nothing is changed.
        """
        with self._changing:
            wanted = {config.name: config.logging or self._default for config in configs}
            logs: dict[Path, ServedLog] = {}
            try:
                for folder in {entry.folder.resolve() for entry in wanted.values() if entry}:
                    logs[folder] = self._logs.get(folder) or ServedLog(folder, self._limits, self._metrics)
            except OSError as error:
                for folder in logs.keys() - self._logs.keys():
                    logs[folder].close()
                raise invalid_argument(f"the served log's folder cannot be written to: {error}") from error
            gone = [self._logs[folder] for folder in self._logs.keys() - logs.keys()]
            self._logs = logs
            self._models = {
                name: (logs[entry.folder.resolve()], entry.sampling_rate) for name, entry in wanted.items() if entry
            }
        for served in gone:
            served.close()

    def sample(self, model: str, api: str, protocol: str, header: Callable[[], bytes]) -> Sampled | None:
        """Begins a request; None where it is not to be logged."""
        found = self._models.get(model)
        if found is None or (found[1] < 1 and random.random() >= found[1]):
            return None
        now = time.time_ns() // 1000
        said = header()
        return Sampled(*found, api, protocol, said if len(said) <= MAX_BYTES else b"", now, time.perf_counter())

    def close(self) -> None:
        """Writes what is queued; what is answered from now on is not logged."""
        self.serve([])
