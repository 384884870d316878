"""What the server is told to serve: TF Serving's model config (text proto or `ModelServerConfig` message)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from serving.version_policy import All, Latest, Specific, VersionPolicy


@dataclass(frozen=True)
class ModelConfig:
    """One model: the folder with its version folders, which versions to serve, and names for some of them."""

    name: str
    base_path: Path
    policy: VersionPolicy = Latest()
    labels: Mapping[str, int] = field(default_factory=dict)

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
    message = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(), message)
    except text_format.ParseError as error:
        raise ValueError(f"{path}: not a ModelServerConfig: {error}") from error
    return from_proto(message)


def from_proto(message: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig]:
    """The models of a `ModelServerConfig`; ValueError or FileNotFoundError as `read`."""
    if message.WhichOneof("config") != "model_config_list":
        raise ValueError("the model config must hold a model_config_list")
    configs = [_model(model) for model in message.model_config_list.config]
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the model config lists {name!r} more than once")
    return configs


def _model(model: model_server_config_pb2.ModelConfig) -> ModelConfig:
    if model.model_platform not in ("", "tensorflow"):
        raise ValueError(
            f"model {model.name}: model_platform must be 'tensorflow', got {model.model_platform!r}"
        )
    return ModelConfig(
        model.name, Path(model.base_path), _policy(model.model_version_policy), dict(model.version_labels)
    )


def _policy(
    policy: file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy,
) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(frozenset(policy.specific.versions))
    return Latest(policy.latest.num_versions or 1)
