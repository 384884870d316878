"""The example shop as training examples and knowledge, made once by the stages that make them for users."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antiphon.config import load
from beam_jobs import ingest, materialize
from feature_store import examples
from feature_store.folders import describe, write_manifest


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A run's folder with tables, features and examples (histories of at most 10, windows: all, 2 shards)."""
    folder = tmp_path_factory.mktemp("runs")
    settings = [f"runs={folder}", f"data.path={repository / 'configs' / 'example_tables'}"]
    config = load(repository / "configs" / "tiny.yaml", settings)
    tables, features = config.folder / "tables", config.folder / "features"
    ingest.run(config.data, tables, config.beam)
    materialize.run(tables, None, features, config.features, config.beam)
    examples.write(tables, features, config.folder / "examples", config.examples, config.features)
    return config.folder


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
        folder = tmp_path_factory.mktemp("side")
        running.append(SideProcess(run, repository, folder, {**small, "learning_rate": 0.1, **settings}, program))
        return running[-1]

    yield start
    for process in running:
        process.end(signal.SIGKILL)
