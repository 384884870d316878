"""How SavedModels are loaded and run: what every version of every model shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tensorflow.core.protobuf import config_pb2

from serving import batch_parameters, text_config
from serving.batch_parameters import BatchParameters
from serving.batching import BatchScheduler
from serving.batching_session import BatchingSession, Run
from serving.config import ServeConfig
from serving.metrics import Metrics
from serving.tensors import MAX_BYTES


@dataclass(frozen=True)
class Batching:
    """The threads that run batches, and the parameters of the models' queues."""

    scheduler: BatchScheduler
    parameters: BatchParameters
    per_model: bool = False  # a version brings its own parameters; one that does not is not batched

    def wrap(self, folder: Path, run: Run, metrics: Metrics) -> BatchingSession | None:
        """`run` in batches; None where the version in `folder` is not to be batched.

        Raises:
            ValueError: the version's own parameters cannot be read.
        """
        parameters = self.parameters
        if self.per_model:
            own = batch_parameters.of_model(folder, parameters)
            if own is None:
                return None
            parameters = own
        return BatchingSession(run, parameters, self.scheduler, metrics)


@dataclass(frozen=True)
class Runtime:
    """Settings of the sessions.

    Attributes:
        warmup_rounds: how often each warmup request is replayed; 0: warmup is left out.
        check_method_names: whether a signature answers only the method it was exported for.
        max_tensor_bytes: the memory one tensor of a request may take.
        retrieval: whether a version's index is loaded with it.
    """

    tags: tuple[str, ...] = ("serve",)
    session: config_pb2.ConfigProto = field(default_factory=config_pb2.ConfigProto)
    warmup_rounds: int = 1
    check_method_names: bool = False
    max_tensor_bytes: int = MAX_BYTES
    retrieval: bool = True
    batching: Batching | None = None
    metrics: Metrics = field(default_factory=Metrics)

    def stop(self) -> None:
        """Ends the threads that run batches. The models must be unloaded."""
        if self.batching is not None:
            self.batching.scheduler.stop()


def from_config(config: ServeConfig) -> Runtime:
    """The runtime a config describes; its threads run from now on.

    Raises:
        ValueError: a file it names cannot be read as what it should be.
        OSError: a file it names cannot be read.
    """
    session = _session(config)
    return Runtime(
        tags=tuple(config.saved_model_tags.split(",")),
        session=session,
        warmup_rounds=max(1, config.num_request_iterations_for_warmup) if config.enable_model_warmup else 0,
        check_method_names=config.enable_signature_method_name_check,
        max_tensor_bytes=config.max_tensor_bytes,
        retrieval=config.enable_retrieval,
        batching=_batching(config),
    )


def _batching(config: ServeConfig) -> Batching | None:
    if not config.enable_batching:
        return None
    if config.batching_parameters_file:
        parameters = batch_parameters.read(config.batching_parameters_file)
    else:
        parameters = BatchParameters(thread_pool_name="model_server_batch_threads")
    scheduler = BatchScheduler(parameters.num_batch_threads, parameters.thread_pool_name)
    return Batching(scheduler, parameters, config.enable_per_model_batching_parameters)


def _session(config: ServeConfig) -> config_pb2.ConfigProto:
    session = config_pb2.ConfigProto()
    if config.tensorflow_session_config_file:
        session = text_config.read(config.tensorflow_session_config_file, config_pb2.ConfigProto)
    both = config.tensorflow_session_parallelism
    intra, inter = config.tensorflow_intra_op_parallelism, config.tensorflow_inter_op_parallelism
    if both and (intra or inter):
        raise ValueError(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    if both or intra:
        session.intra_op_parallelism_threads = both or intra
    if both or inter:
        session.inter_op_parallelism_threads = both or inter
    if config.per_process_gpu_memory_fraction:
        session.gpu_options.per_process_gpu_memory_fraction = config.per_process_gpu_memory_fraction
    return session
