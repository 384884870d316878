"""The language model's side process, on the items of a run: served here, or run beside a stage that needs it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from antiphon import processes
from antiphon.config import Config
from trainer.config import TrainConfig

FREE_TO_CHANGE = ("device", "batch_tokens", "held_tokens", "host", "port", "folder", "checkpoint_updates")
"""Settings of the language model that may be others when a training that uses it is resumed."""

_START = 1800.0  # seconds until it serves: a large model may have to be converted first
_VAIN = 3  # times in succession that it may end within a minute of its start


def run(config: Config) -> int:
    """Serve the language model to the trainers of a run, until stopped.

    Raises:
        ValueError: the run has no training examples.
    """
    vocabulary = config.folder / "examples" / "vocabulary" / "item.txt"
    if not vocabulary.is_file():
        raise ValueError(f"{config.folder}: there are no training examples; `antiphon examples` makes them")

    from llm_offline.knowledge import link_server, titles

    folder = Path(config.llm.folder) if config.llm.folder else config.folder / "llm"
    link_server.run(titles.read_titles(config.folder / "tables", vocabulary), folder, config.llm)
    return 0


def identity(config: Config) -> dict[str, Any]:
    """What of the language model's settings makes it another."""
    free = {*FREE_TO_CHANGE, *(() if config.llm.start else ("start",))}  # as it was before there was one
    return {name: value for name, value in asdict(config.llm).items() if name not in free}


@contextmanager
def beside(config: Config, variant: str) -> Iterator[TrainConfig]:
    """A variant's settings with the address of a side process that serves it, where it needs one.

    One that its config names is taken as it is. Otherwise one is run for as long as the block lasts, with its
    checkpoints in the variant's own folder. On a cluster of TF_CONFIG it is for whoever runs that to start one.

    Raises:
        RuntimeError, TimeoutError: it does not come to serve.
    """
    settings = config.variants[variant]
    if not settings.coco.live or settings.llm.address or os.environ.get("TF_CONFIG"):
        yield settings
        return
    with _SideProcess(config, variant) as address:
        yield replace(settings, llm=replace(settings.llm, address=address))


def _start_of(config: Config, variant: str) -> str:
    """The side process's checkpoint beside the model that a variant starts from; "" where that had none."""
    start = config.variants[variant].start_from
    folder = config.folder / "models" / start if start in config.variants else Path(start)
    if not start or not (folder / "llm").is_dir() or not (folder / "history.json").exists():
        return ""
    from trainer import saved

    found = folder / "llm" / f"ckpt-{saved.best_step(folder)}"
    return str(found) if found.is_dir() else ""


class _SideProcess:
    """`antiphon llm` at an address of its own; it is started again when it ends before the block does."""

    def __init__(self, config: Config, variant: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"127.0.0.1:{port}"
        self._log = config.folder / "logs" / f"llm-{variant}.log"
        folder = config.folder / "models" / variant / "llm"
        start = config.llm.start or _start_of(config, variant)
        changes = ("llm.host=127.0.0.1", f"llm.port={port}", f"llm.folder={folder}", f"llm.start={start}")
        file = str(config.folder / "config.yaml")
        self._command = [sys.executable, "-m", "antiphon.cli", "llm", "--child", "-c", file]
        self._command += [part for change in changes for part in ("--set", change)]
        self._ending = threading.Event()
        self._process = None

    def __enter__(self) -> str:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        begun = self._log.stat().st_size if self._log.exists() else 0
        self._start()
        try:
            what = f"the language model's side process, whose output is in {self._log}"
            processes.wait_for(lambda: b"llm ready" in self._said(begun), _START, what, self._process)
        except BaseException:
            processes.stop(self._process)
            raise
        self._watcher = threading.Thread(target=self._watch, name="side process", daemon=True)
        self._watcher.start()
        return self._address

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        processes.stop(self._process, grace=20.0)
        self._watcher.join()

    def _said(self, begun: int) -> bytes:
        with self._log.open("rb") as log:
            log.seek(begun)
            return log.read()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = processes.start(self._command, output=log.fileno())
        self._started = time.monotonic()

    def _watch(self) -> None:
        short = 0
        while True:
            code = self._process.wait()
            short = short + 1 if time.monotonic() - self._started < 60 else 0
            if self._ending.is_set() or short >= _VAIN:
                return
            print(f"the language model's side process ended with code {code}: starting it again", flush=True)
            self._start()
            if self._ending.is_set():  # while it was being started
                processes.stop(self._process)
