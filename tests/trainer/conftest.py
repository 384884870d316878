"""Knowledge of the example shop, and processes that train on it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.folders import describe, write_manifest


@pytest.fixture(scope="session")
def knowledge(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge folder with a random vector of width 6 for every item."""
    folder = tmp_path_factory.mktemp("knowledge")
    ids = pq.read_table(shop / "tables" / "items.parquet")["item_id"]
    vectors = np.random.default_rng(0).normal(size=(len(ids), 6)).astype(np.float32)
    pq.write_table(pa.table({"item_id": ids, "vector": list(vectors)}), folder / "part.parquet")
    write_manifest(folder, {"files": [describe(folder / "part.parquet", folder)]})
    return folder


@pytest.fixture(scope="session")
def sight(shop: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``cluster/sight.py`` saw of a training run on a cluster."""
    script = Path(__file__).parent / "cluster" / "sight.py"
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, str(script), str(shop / "examples"), str(tmp_path_factory.mktemp("sight")), str(port)],
        capture_output=True, text=True, timeout=900, env={**os.environ, "PYTHONPATH": str(repository)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    """A tiny model of random weights may have nothing but dead ReLUs: no test's outcome hangs on what is drawn."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)


class SideProcess:
    """`antiphon llm` over the shop's items, at one address for as long as this lives."""

    def __init__(
        self, run: Path, repository: Path, folder: Path, settings: dict[str, Any], program: Sequence[str] = ()
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.folder, self._log = f"127.0.0.1:{port}", folder, folder / "llm.log"
        settings = {**settings, "port": port, "folder": folder / "llm"}
        program = program or ("-m", "antiphon.cli")
        self._command = [sys.executable, *program, "llm"]  # it must outlive the thread that starts it
        self._command += ["-c", str(repository / "configs" / "tiny.yaml"), "--set", f"runs={run.parent}"]
        self._command += [part for name, value in settings.items() for part in ("--set", f"llm.{name}={value}")]
        self._environment = {**os.environ, "PYTHONPATH": str(repository)}
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self, wait: bool = True) -> None:
        with self._log.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        while wait and b"llm ready" not in self._log.read_bytes()[before:]:
            assert self._process.poll() is None, self.log
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="session")
def side_process(shop: Path, repository: Path, tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory):
    """Starts side processes with the tiny language model in float64; they end with the session."""
    running = []

    def start(run: Path = shop, program: Sequence[str] = (), **settings: Any) -> SideProcess:
        small = {"model": tiny_llm, "dtype": "float64", "max_tokens": 24, "d": 4, "rank": 2, "optimizer": "sgd"}
        rates = dict.fromkeys(("learning_rate", "decoupling_learning_rate"), settings.get("learning_rate", 0.1))
        folder = tmp_path_factory.mktemp("side")
        running.append(SideProcess(run, repository, folder, {**small, **rates, **settings}, program))
        return running[-1]

    yield start
    for process in running:
        process.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def side(side_process: Callable[..., SideProcess]) -> SideProcess:
    """One in float64 that gives the same answer every time; a file that needs another has its own."""
    return side_process(dropout=0.0, checkpoint_updates=10**6)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Keras makes weights in float64."""
    import tf_keras

    tf_keras.backend.set_floatx("float64")
    yield
    tf_keras.backend.set_floatx("float32")


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory) -> tuple[Path, Path]:
    """Requests of a chatbot, and a QE-Rec that was trained on them."""
    import chat_model

    return chat_model.make(tmp_path_factory.mktemp("chat"))
