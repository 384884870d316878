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

    def __init__(self, folder: Path, *options: str) -> None:
        if not (binary := shutil.which("redis-server")):
            pytest.skip("no redis-server on this machine; install it to test the Redis online store")
        self._port = _free_port()
        self.address = f"127.0.0.1:{self._port}"
        port, place = str(self._port), str(folder)
        self._command = [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", place, *options]
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


class RedisClusterProcesses:
    """A Redis cluster of two servers that share the keys."""

    def __init__(self, folder: Path) -> None:
        self._servers, buses = [], [_free_port(), _free_port()]
        for bus in buses:
            (folder / str(bus)).mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            self._servers.append(RedisProcess(folder / str(bus), *options))
        self.addresses = [server.address for server in self._servers]
        try:
            self._join(buses)
        except BaseException:
            self.stop()
            raise

    def _join(self, buses: list[int]) -> None:
        from redis import Redis

        half = 8192  # of the slots
        nodes = [Redis(host, int(port)) for host, _, port in (address.partition(":") for address in self.addresses)]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", number * half, (number + 1) * half - 1)
        nodes[0].execute_command("CLUSTER", "MEET", *self.addresses[1].split(":"), buses[1])
        deadline = time.monotonic() + 60
        while not all(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for node in nodes):
            assert time.monotonic() < deadline, "the two servers do not make a cluster"
            time.sleep(0.1)

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
