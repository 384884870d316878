"""All models of a server, by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tensorflow_serving.apis import model_pb2

from serving.model_config import ModelConfig
from serving.predict import SavedModel
from serving.status import invalid_argument, not_found
from serving.versions import ModelVersions, VersionStatus


class ModelRegistry:
    """The models of `configs`; each is loaded at once and then watched for new versions."""

    def __init__(self, configs: Sequence[ModelConfig], poll_seconds: float):
        self._poll_seconds = poll_seconds
        self._changing = threading.Lock()
        self._models: dict[str, ModelVersions] = {}
        self.apply(configs)

    def apply(self, configs: Sequence[ModelConfig]) -> None:
        """Serves exactly these models: new ones are loaded, missing ones unloaded, changed ones changed."""
        with self._changing:
            models = {config.name: self._prepare(config) for config in configs}
            gone = [model for model in self._models.values() if model not in models.values()]
            self._models = models
        for model in gone:
            model.stop()

    def _prepare(self, config: ModelConfig) -> ModelVersions:
        model = self._models.get(config.name)
        if model is not None and model.config.base_path == config.base_path:
            model.reconfigure(config)
            return model
        model = ModelVersions(config, self._poll_seconds)
        model.poll()
        model.start()
        return model

    def served(self, name: str) -> str:
        """`name` where a model of that name is served, else ""."""
        return name if name in self._models else ""

    def stop(self) -> None:
        self.apply([])

    @contextmanager
    def acquire(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, SavedModel]]:
        """Holds the version `spec` asks for during one request, as `ModelVersions.acquire`.

        Raises:
            StatusError: INVALID_ARGUMENT for a spec without a name or with an unknown label, NOT_FOUND for
                an unknown model or version.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        label = spec.version_label if choice == "version_label" else None
        model = self._models.get(spec.name)
        if model is None:
            if label is not None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
            request = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise not_found(f"Servable not found for request: {request}")
        with model.acquire(version, label) as held:
            yield held

    def statuses(self, spec: model_pb2.ModelSpec) -> list[VersionStatus]:
        """The states of the version `spec` names, or of all versions of its model.

        Raises:
            StatusError: NOT_FOUND where there is none.
        """
        model = self._models.get(spec.name)
        statuses = model.statuses() if model is not None else []
        if spec.HasField("version"):
            version = spec.version.value
            statuses = [status for status in statuses if status.version == version]
            if not statuses:
                raise not_found(f"Could not find version {version} of model {spec.name}")
        if not statuses:
            raise not_found(f"Could not find any versions of model {spec.name}")
        return statuses
