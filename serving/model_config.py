"""What the server is told to serve: TF Serving's model config (text proto or `ModelServerConfig` message)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tensorflow_serving.config import (
    file_system_storage_path_source_pb2,
    logging_config_pb2,
    model_server_config_pb2,
)

from serving import text_config
from serving.version_policy import All, Latest, Specific, VersionPolicy

LOG_COLLECTOR = "served_log"  # the type of a log_collector_config, which may also be left out


@dataclass(frozen=True)
class LoggingConfig:
    """Where answered requests are written, and which share of them: `filename_prefix` is the folder."""

    folder: Path
    sampling_rate: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """One model: the folder with its version folders, which versions to serve, names for some of them, and its log."""

    name: str
    base_path: Path
    policy: VersionPolicy = Latest()
    labels: Mapping[str, int] = field(default_factory=dict)
    logging: LoggingConfig | None = None  # None: the server's own, where it has one

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or ":" in self.name:
            raise ValueError(f"a model's name must not be empty nor hold '/' or ':', got {self.name!r}")
        if not self.base_path.is_dir():
            raise FileNotFoundError(f"model {self.name}: base_path {self.base_path} is not a folder")
        if (self.base_path / "saved_model.pb").exists():
            raise ValueError(
                f"model {self.name}: base_path {self.base_path} is itself a SavedModel; give the folder "
                f"that holds "
                "its version folders (1, 2, …)"
            )


def read(path: Path) -> list[ModelConfig]:
    """The models of a `--model_config_file`.

    Raises:
        ValueError: the file is not a `ModelServerConfig` in text form, or names a model this server cannot
        serve. FileNotFoundError: the file or a model's base_path does not exist.
    """
    return from_proto(text_config.read(path, model_server_config_pb2.ModelServerConfig))


def from_proto(message: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig]:
    """The models of a `ModelServerConfig`; ValueError or FileNotFoundError as `read`."""
    if message.WhichOneof("config") != "model_config_list":
        raise ValueError("the model config must hold a model_config_list")
    names: set[str] = set()
    for model in message.model_config_list.config:
        if model.name in names:
            raise ValueError(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    return [_model(model) for model in message.model_config_list.config]


def _model(model: model_server_config_pb2.ModelConfig) -> ModelConfig:
    if (platform := _platform(model)) != "tensorflow":
        raise ValueError(f"Model {model.name} requests unsupported platform {platform}")
    if not model.base_path.startswith("/"):
        raise ValueError(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
        )
    return ModelConfig(
        model.name,
        Path(model.base_path),
        _policy(model.model_version_policy),
        dict(model.version_labels),
        _logging(model.name, model.logging_config) if model.HasField("logging_config") else None,
    )


def _logging(name: str, config: logging_config_pb2.LoggingConfig) -> LoggingConfig:
    collector = config.log_collector_config
    if collector.type not in ("", LOG_COLLECTOR):
        raise ValueError(f"Cannot find LogCollector::Factory for type: {collector.type}")
    if not collector.filename_prefix.startswith("/"):
        raise ValueError(
            f"model {name}: logging_config.log_collector_config.filename_prefix must be an absolute path, the log's "
            f"folder, got {collector.filename_prefix!r}"
        )
    rate = config.sampling_config.sampling_rate
    if not 0 <= rate <= 1:
        raise ValueError(f"model {name}: logging_config.sampling_config.sampling_rate must lie in 0..1, got {rate}")
    return LoggingConfig(Path(collector.filename_prefix), rate)


def _platform(model: model_server_config_pb2.ModelConfig) -> str:
    if model.model_type:  # deprecated, but still read
        if model.model_platform:
            raise ValueError(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                "ModelServerConfig::model_platform."
            )
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise ValueError(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return "tensorflow"
    if not model.model_platform:
        raise ValueError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform."
        )
    return model.model_platform


def _policy(
    policy: file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy,
) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(frozenset(policy.specific.versions))
    return Latest(policy.latest.num_versions or 1)
