"""The reasoner's service as a process of its own: `antiphon reasoner` on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def running(model: Path, folder: Path, port: int = 0, **service) -> Iterator[tuple[subprocess.Popen, str, str]]:
    """The process, its base URL and the name of its model, for as long as the block lasts."""
    reasoner = {"model": str(model), "max_tokens": 1024}
    content = {"name": "chat", "runs": str(folder), "align": {"reasoner": reasoner},
               "service": {"port": port, "threads": 1, **service}}  # fmt: skip
    config = folder / "service.yaml"
    config.write_text(json.dumps(content))
    command = [sys.executable, "-m", "antiphon.cli", "reasoner", "-c", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("reasoner ready "), f"it said {line!r} and ended with {process.wait(60)}"
        _, _, address, name = line.split()
        yield process, f"http://{address}/v1", name.removeprefix("model=")
    finally:
        process.kill()
        process.wait()
