"""All models of a server, by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis import model_pb2

from serving.model_config import ModelConfig
from serving.predict import SavedModel
from serving.runtime import Runtime
from serving.status import StatusError, invalid_argument, not_found
from serving.versions import ModelVersions, VersionStatus


class ModelRegistry:
    """The models of `configs`; each is loaded at once and then watched for new versions.

    Args:
        allow_unavailable_labels: whether a label that is new may name a version that is not loaded. As in TF Serving,
            without it a config's labels can only come once their versions serve.
        changed: told which models are to be served, before they are; may refuse them with a `StatusError`.

    Raises:
        StatusError: as `apply`.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        poll_seconds: float,
        runtime: Runtime | None = None,
        allow_unavailable_labels: bool = False,
        changed: Callable[[Sequence[ModelConfig]], None] = lambda configs: None,
    ):
        self._poll_seconds = poll_seconds
        self._runtime = runtime or Runtime()
        self._allow_unavailable_labels = allow_unavailable_labels
        self._changed = changed
        self._changing = threading.Lock()
        self._models: dict[str, ModelVersions] = {}
        self.apply(configs)

    def apply(self, configs: Sequence[ModelConfig]) -> list[str]:
        """Serves exactly these models: new ones are loaded, missing ones unloaded, changed ones changed.

        Returns:
            The names of the new ones.

        Raises:
            StatusError: FAILED_PRECONDITION for a label of a version that is not loaded, and what `changed`
                raises; nothing is changed.
        """
        with self._changing:
            for config in configs:
                self._check_labels(config)
            self._changed(configs)
            models = {config.name: self._prepare(config) for config in configs}
            new = [name for name in models if name not in self._models]
            gone = [model for model in self._models.values() if model not in models.values()]
            self._models = models
        for model in gone:
            model.stop()
        return new

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """`apply`, and an error where a new model has versions, but none that can be served.

        Raises:
            StatusError: as `apply`; UNKNOWN with the error of each such version.
        """
        failed = [
            f"{{{{name: {name} version: {status.version}}} due to error: {status.error}}}, "
            for name in self.apply(configs)
            for status in self._models[name].statuses()
            if status.error is not None and not self._models[name].serves
        ]
        if failed:
            raise StatusError(
                grpc.StatusCode.UNKNOWN, f"{len(failed)} model(s) did not become available: {{{''.join(failed)}}}"
            )

    def _check_labels(self, config: ModelConfig) -> None:
        model = self._models.get(config.name)
        known = model.config.labels if model is not None else {}
        for label, version in config.labels.items():
            moved = known.get(label, version) != version
            if self._allow_unavailable_labels and not moved:
                continue
            if model is None or not model.is_available(version):
                raise StatusError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, which is not currently "
                    "available for inference",
                )

    def _prepare(self, config: ModelConfig) -> ModelVersions:
        model = self._models.get(config.name)
        if model is not None and model.config.base_path == config.base_path:
            model.reconfigure(config)
            return model
        model = ModelVersions(config, self._poll_seconds, self._runtime)
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
