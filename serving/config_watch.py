"""Reads the `--model_config_file` again and again, and serves what it names."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from serving import model_config
from serving.registry import ModelRegistry
from serving.status import StatusError

log = logging.getLogger(__name__)


class ModelConfigWatch:
    """Applies the file at `path` to `registry` every `seconds` seconds between `start` and `stop`.

    A file that cannot be applied changes nothing: the log says why, and it is tried again.
    """

    def __init__(self, path: Path, registry: ModelRegistry, seconds: float):
        self._path = path
        self._registry = registry
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watch of {path}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.apply()

    def apply(self) -> None:
        """Reads the file once and applies it."""
        try:
            self._registry.reload(model_config.read(self._path))
        except (StatusError, ValueError, OSError) as error:
            log.error("%s was not applied: %s", self._path, error)
