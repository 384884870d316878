"""A service of `antiphon` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def started(arguments: Sequence[str], ready: str) -> Iterator[str]:
    """Starts ``antiphon ARGUMENTS``; yields the host:port that its first line tells after ``ready``, and ends it.

    Raises:
        RuntimeError: it said something else, or nothing.
    """
    process = subprocess.Popen([sys.executable, "-m", "antiphon.cli", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith(f"{ready} "):
            raise RuntimeError(f"antiphon {' '.join(arguments)} said {line!r}, not {ready!r}")
        yield line.removeprefix(ready).split()[0]
    finally:
        process.terminate()
        process.wait()
