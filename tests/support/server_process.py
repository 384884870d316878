"""The embedded server as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class ServerProcess:
    process: subprocess.Popen[str]
    grpc: str
    rest: str

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal and returns the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()


def start(*flags: str) -> ServerProcess:
    """`python -m serving.server` on free ports, once it is ready."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "serving.server", "--port=0", "--rest_api_port=0", *flags]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), f"the server said {line!r} and ended with {process.wait(timeout=60)}"
    fields = dict(field.split("=", 1) for field in line.split()[1:])
    return ServerProcess(process, fields["grpc"], fields["rest"])


@contextmanager
def starting() -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes; those still running when the block ends are killed."""
    started: list[ServerProcess] = []

    def begin(*flags: str) -> ServerProcess:
        started.append(start(*flags))
        return started[-1]

    yield begin
    for server in started:
        server.process.kill()
        server.process.wait(timeout=60)
