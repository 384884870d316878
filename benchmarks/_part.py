"""A part of a benchmark in a process of its own, because a process can join one cluster only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainer.cluster.launcher import MALLOC


def environment() -> dict[str, str]:
    """Of a process that computes with TensorFlow as the cluster's servers do."""
    return {
        **os.environ,
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "GLIBC_TUNABLES": MALLOC,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def run(module: str, *arguments: str, extra: dict[str, str] | None = None) -> Any:
    """Runs ``benchmarks.<module>``, with ``extra`` in its environment; returns the JSON on the last line it prints.

    Raises:
        RuntimeError: it failed; the message has the end of what it wrote to stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**environment(), **(extra or {})},
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{module} {arguments[0]} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
