"""The embedded server on the exported model: in this process, or as one of its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from antiphon import processes, work
from antiphon.config import Config, dump

_READY = re.compile(r"^ready grpc=(\S+) rest=(\S+) ")


@dataclass(frozen=True)
class Addresses:
    """Where a server answers, "host:port" each, and the model it serves."""

    grpc: str
    rest: str
    model: str


def run(config: Config) -> int:
    """Serve the exported model under its variant's name, and every later version of it, until stopped.

    With `serve.model_config_file` the models that file names are served instead.

    Raises:
        ValueError: nothing has been exported, or a file that the config names is not what it should be.
        RuntimeError: the server refuses to start, as TF Serving would: a label of a version that is not loaded.
    """
    models = {}
    if not config.serve.model_config_file:
        chosen = work.chosen(config)
        models = {chosen["variant"]: config.folder / "export" / chosen["variant"]}

    from serving import server
    from serving.status import StatusError

    try:
        server.run(models, config.serve)
    except StatusError as error:
        raise RuntimeError(f"Failed to start server. Error: {error}") from error
    return 0


@contextlib.contextmanager
def started(config: Config, seconds: float = 120.0) -> Iterator[Addresses]:
    """A server in a process of its own, on free ports; it is gone when the block ends.

    Raises:
        RuntimeError: it ended before it answered; its log is in the run's folder.
        TimeoutError: it did not answer in time.
    """
    chosen = work.chosen(config)
    log = config.folder / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    file = config.folder / "serve.yaml"
    file.write_text(dump(config), encoding="utf-8")
    ports = ["--set", "serve.grpc_port=0", "--set", "serve.rest_port=0"]
    command = [sys.executable, "-m", "antiphon.cli", "serve", "--child", "-c", str(file), *ports]
    with log.open("wb") as output:
        process = processes.start(command, output=output.fileno())
    try:
        grpc, rest = _ready(process, log, seconds)
        yield Addresses(grpc, rest, chosen["variant"])
    finally:
        processes.stop(process)
        file.unlink(missing_ok=True)


def _ready(process: subprocess.Popen, log: Path, seconds: float) -> tuple[str, str]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := _READY.match(line):
                return match[1], match[2]
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}; its log is {log}")
        time.sleep(0.05)
    raise TimeoutError(f"the server did not answer within {seconds:g} s; its log is {log}")
