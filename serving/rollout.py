"""The model config file of a model that is rolled out by labels: which versions are served, and by what names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import text_config


def write(path: Path, name: str, base: Path, labels: Mapping[str, int], also: frozenset[int] = frozenset()) -> None:
    """Writes in one step a model config file that serves the versions with a label, and ``also`` others without one.

    A label is refused by a server on a version that it has not loaded, so a new version is first served ``also``.

    Raises:
        FileNotFoundError: ``base`` has no such version.
    """
    versions = sorted({*labels.values(), *also})
    for version in versions:
        if not (base / str(version)).is_dir():
            raise FileNotFoundError(f"{base / str(version)}: there is no such version to serve")
    message = model_server_config_pb2.ModelServerConfig()
    model = message.model_config_list.config.add(
        name=name, base_path=str(base.resolve()), model_platform="tensorflow"
    )
    model.model_version_policy.specific.versions.extend(versions)
    for label, version in labels.items():
        model.version_labels[label] = version
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.writing")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text_format.MessageToString(message))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def labels(path: Path, name: str) -> dict[str, int]:
    """The labels that the file gives the versions of a model; none where there is no file.

    Raises:
        ValueError: the file is no model config.
    """
    if not path.is_file():
        return {}
    message = text_config.read(path, model_server_config_pb2.ModelServerConfig)
    for model in message.model_config_list.config:
        if model.name == name:
            return dict(model.version_labels)
    return {}
