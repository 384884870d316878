"""The example shop as training examples and knowledge, made once by the stages that make them for users."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
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
