"""The manifests of TensorFlow Serving and Redis, as they are read from deploy/serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def folder(repository: Path) -> Path:
    return repository / "deploy" / "serving"


@pytest.fixture(scope="session")
def documents(folder: Path) -> list[dict[str, Any]]:
    return [
        document
        for name in ("kustomization.yaml", "tf_serving.yaml", "redis.yaml")
        for document in yaml.safe_load_all((folder / name).read_text())
    ]


@pytest.fixture(scope="session")
def compose(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "compose.yaml").read_text())


@pytest.fixture(scope="session")
def container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    deployment = next(document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container
