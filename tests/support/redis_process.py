"""A real Redis server of a test's own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest


class RedisProcess:
    """redis-server on a free port, at one address for as long as this lives; skips the test where there is none."""

    def __init__(self, folder: Path) -> None:
        if not (binary := shutil.which("redis-server")):
            pytest.skip("no redis-server on this machine; install it to test the Redis online store")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        port, place = str(self._port), str(folder)
        self._command = [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", place]
        self.start()

    def start(self) -> None:
        self._server = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise
                time.sleep(0.05)

    def hold(self) -> None:
        """It takes connections and answers nothing, until `go_on`."""
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.go_on()
        self._server.terminate()
        self._server.wait(10)
