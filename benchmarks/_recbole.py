"""RecBole in an environment of its own, and a process in it that trains its SASRec on request."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "_recbole_requirements.txt"


def environment(folder: Path) -> Path:
    """The Python of RecBole's environment in `folder`; makes it on first use (about 1 GB, some minutes).

    Raises:
        subprocess.CalledProcessError: it could not be installed.
    """
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"making RecBole's environment in {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS]
        subprocess.run(install, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return python


class RecBole:
    """RecBole's SASRec in its own process, loaded and waiting.

    Args:
        python: the interpreter of RecBole's environment.
        settings: what `_recbole_sasrec.py` reads: sequences (a file), d, inner, blocks, heads, length,
            dropout, batch, learning_rate, threads, seed.
    """

    def __init__(self, python: Path, settings: dict[str, Any]):
        quiet = {
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": str(settings["threads"]),
            "CUDA_VISIBLE_DEVICES": "",
        }
        self._process = subprocess.Popen(
            [python, HERE / "_recbole_sasrec.py", json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **quiet},
        )  # fmt: skip
        self.targets_per_epoch = self._answer()["targets_per_epoch"]

    def train(self, seconds: float) -> dict[str, float]:
        """Train for about `seconds`: {"targets", "seconds"}."""
        return self._ask({"do": "train", "seconds": seconds})

    def reach(self, ndcg: float, minutes: float) -> dict[str, Any]:
        """Train until NDCG@10 on test, or for `minutes`: {"epochs": [...], "reached"}."""
        return self._ask({"do": "reach", "ndcg": ndcg, "minutes": minutes})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"RecBole's process ended with code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> RecBole:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
