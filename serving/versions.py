"""The versions of one model: found, loaded beside the one that serves, swapped in, unloaded when idle.

A version goes through TF Serving's states START, LOADING, AVAILABLE, UNLOADING and END; one that cannot be
loaded, has a retrieval index that is not its own, or fails its warmup requests goes straight to END with its
error. Unlike TF Serving, `latest` then falls back on the newest version that does load, and a broken version is
tried again once its files have changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from serving import memory, retrieval, warmup
from serving.model_config import ModelConfig
from serving.predict import SavedModel
from serving.runtime import Runtime
from serving.status import StatusError, invalid_argument, not_found

log = logging.getLogger(__name__)

State = get_model_status_pb2.ModelVersionStatus.State
_MAX_VERSION = 2**63 - 1
GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")

Fingerprint = frozenset[tuple[str, int, int]]


@dataclass(frozen=True)
class VersionStatus:
    """Where a version is in its life; `error` is why it ended, where it was not asked to."""

    version: int
    state: int
    error: StatusError | None = None


class _Loaded:
    """A version in memory and the number of requests running on it."""

    def __init__(self, version: int, model: SavedModel):
        self.version = version
        self.model = model
        self.requests = 0


class ModelVersions:
    """Serves the versions under `config.base_path` that `config.policy` chooses.

    `poll` looks at the folder once; `start` does so every `poll_seconds` on a thread of its own, until
    `stop`.
    """

    def __init__(self, config: ModelConfig, poll_seconds: float, runtime: Runtime | None = None):
        self._config = config
        self._runtime = runtime or Runtime()
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._polling = threading.Lock()
        self._available: dict[int, _Loaded] = {}
        self._unloading: list[_Loaded] = []
        self._statuses: dict[int, VersionStatus] = {}
        self._failed: dict[int, Fingerprint] = {}
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"versions of {config.name}", daemon=True)

    @property
    def config(self) -> ModelConfig:
        return self._config

    def reconfigure(self, config: ModelConfig) -> None:
        """Takes another policy or other labels; the base path stays."""
        self._config = config
        self.poll()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops looking for versions and unloads every one, those with a request running when it has ended."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._polling:
            for version in list(self._available):
                self._retire(version)
            self._close_idle()

    def statuses(self) -> list[VersionStatus]:
        """Every version seen so far, the highest first."""
        with self._lock:
            return [self._statuses[version] for version in sorted(self._statuses, reverse=True)]

    def is_available(self, version: int) -> bool:
        with self._lock:
            return version in self._available

    @property
    def serves(self) -> bool:
        """Whether any version is available."""
        return bool(self._available)

    @contextmanager
    def acquire(
        self, version: int | None = None, label: str | None = None
    ) -> Iterator[tuple[int, SavedModel]]:
        """Holds a version for one request: the one named or labelled, else the highest.

        Raises:
            StatusError: NOT_FOUND where it is not available, INVALID_ARGUMENT for an unknown label.
        """
        loaded = self._hold(version, label)
        try:
            yield loaded.version, loaded.model
        finally:
            self._release(loaded)

    def _hold(self, version: int | None, label: str | None) -> _Loaded:
        name = self._config.name
        if label is not None:
            version = self._config.labels.get(label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        with self._lock:
            wanted = version if version is not None else max(self._available, default=None)
            loaded = self._available.get(wanted)
            if loaded is None:
                request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise not_found(f"Servable not found for request: {request}")
            loaded.requests += 1
        return loaded

    def _release(self, loaded: _Loaded) -> None:
        with self._lock:
            loaded.requests -= 1
            last = loaded.requests == 0 and loaded in self._unloading
        if last and self._stopped.is_set():
            self._close_idle()
        elif last:
            self._wake.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(self._poll_seconds or None)
            self._wake.clear()
            if self._stopped.is_set():
                return
            try:
                if self._poll_seconds:
                    self.poll()
                else:
                    self._close_idle()
            except OSError as error:
                log.warning(
                    "model %s: cannot look at %s: %s", self._config.name, self._config.base_path, error
                )

    def poll(self) -> None:
        """Looks at the folder once: loads what is to be served, then unloads what no longer is.

        Raises:
            OSError: the folder cannot be listed; what is served stays.
        """
        with self._polling:
            self._close_idle()
            folders = self._folders()
            self._forgive_changed(folders)
            while True:
                wanted = self._config.policy.choose(folders.keys() - self._failed.keys())
                missing = wanted - self._available.keys()
                if not missing:
                    break
                self._load(max(missing), folders[max(missing)])
            for version in sorted(self._available.keys() - wanted):
                self._retire(version)
            self._close_idle()

    def _folders(self) -> dict[int, Path]:
        """The version folders that have their graph: one without is still being copied."""
        folders: dict[int, Path] = {}
        for folder in sorted(self._config.base_path.iterdir()):
            name = folder.name
            if not (name.isascii() and name.isdigit()) or int(name) > _MAX_VERSION:
                continue
            if any((folder / graph).is_file() for graph in GRAPH_FILES):
                folders.setdefault(int(name), folder)
        return folders

    def _forgive_changed(self, folders: dict[int, Path]) -> None:
        for version, fingerprint in list(self._failed.items()):
            if version not in folders or _fingerprint(folders[version]) != fingerprint:
                del self._failed[version]

    def _load(self, version: int, folder: Path) -> None:
        name = self._config.name
        self._set(version, State.START)
        fingerprint = _fingerprint(folder)
        self._set(version, State.LOADING)
        try:
            model, warmed = _load_and_warm(folder, self._runtime)
        except StatusError as error:
            self._failed[version] = fingerprint
            self._set(version, State.END, error)
            log.error("model %s version %d cannot be served: %s", name, version, error)
            return
        with self._lock:
            self._available[version] = _Loaded(version, model)
            self._statuses[version] = VersionStatus(version, State.AVAILABLE)
        log.info("model %s version %d available after %d warmup requests", name, version, warmed)

    def _retire(self, version: int) -> None:
        with self._lock:
            self._unloading.append(self._available.pop(version))
            self._statuses[version] = VersionStatus(version, State.UNLOADING)

    def _close_idle(self) -> None:
        with self._lock:
            idle = [loaded for loaded in self._unloading if loaded.requests == 0]
            self._unloading = [loaded for loaded in self._unloading if loaded.requests]
        for loaded in idle:
            loaded.model.close()
            self._set(loaded.version, State.END)
            log.info("model %s version %d unloaded", self._config.name, loaded.version)
        if idle:
            memory.give_back()

    def _set(self, version: int, state: int, error: StatusError | None = None) -> None:
        with self._lock:
            self._statuses[version] = VersionStatus(version, state, error)


def _load_and_warm(folder: Path, runtime: Runtime) -> tuple[SavedModel, int]:
    metrics = runtime.metrics
    start = time.perf_counter()
    try:
        model = SavedModel(folder, runtime)
    except StatusError:
        metrics.load_attempt_count.add((str(folder), "fail"))
        raise
    metrics.load_attempt_count.add((str(folder), "success"))
    metrics.load_latency.add((str(folder),), round((time.perf_counter() - start) * 1e6))
    try:
        if runtime.retrieval and (found := retrieval.load(folder)) is not None:
            retrieval.check(model, found)
            model.index = found
        return model, warmup.replay(model)
    except Exception as error:
        model.close()
        if isinstance(error, StatusError):
            raise
        raise StatusError(grpc.StatusCode.INTERNAL, f"{folder}: {error}") from error


def _fingerprint(folder: Path) -> Fingerprint:
    """Changes when any file of the folder does."""
    stats = ((str(path), path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return frozenset((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
