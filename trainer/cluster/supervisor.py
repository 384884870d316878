"""Keeps a local cluster and its coordinator at work: starts again what dies.

TensorFlow's runtime can lose a worker and go on, but not a parameter server, and a process can join one cluster only.
So the coordinator is a child of its own. A dead worker is started again at its address, which the coordinator then
uses again; when a parameter server or the coordinator dies, all of them are started anew and the coordinator goes on
from its newest checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.cluster.launcher import PARENT, ClusterError, ClusterSize, LocalCluster
from trainer.stopping import Stopping

AGAIN = 138
"""A coordinator's exit code that asks to be started again, its cluster with it. Kubeflow's training operator takes
every code from 128 on for a fault of the machines, not of the program."""

RESTARTS = 3  # of the whole cluster without a newer checkpoint in between

_REPORT = "ANTIPHON_SUPERVISOR"  # file descriptor on which the coordinator tells its supervisor things


class CoordinatorFailed(RuntimeError):
    """The coordinator ended with an error that starting it again would not mend."""


def tell(**message: Any) -> bool:
    """From the coordinator to its supervisor: one message. False where there is none."""
    descriptor = os.environ.get(_REPORT)
    if descriptor is None:
        return False
    os.write(int(descriptor), (json.dumps(message) + "\n").encode())
    return True


def supervise(
    command: Sequence[str], size: ClusterSize, logs: Path, position: Callable[[], object], grace: float
) -> None:
    """Runs ``command``, a coordinator, on a local cluster until it ends well. Call it from the main thread.

    On SIGTERM or SIGINT the coordinator gets SIGTERM and ``grace`` seconds, and then the signal takes its usual way.

    Args:
        command: takes TF_CONFIG from its environment, and ends with ``AGAIN`` when it lost a parameter server.
        logs: folder of the servers' logs.
        position: what changes with each new checkpoint.

    Raises:
        ValueError: the coordinator refused its input; the message is its own.
        CoordinatorFailed: it ended with another error.
        ClusterError: the cluster was started ``RESTARTS`` times more and no newer checkpoint came of it.
    """
    with Stopping() as stopping:
        vain, before = 0, position()
        while (lost := _attempt(command, size, logs, stopping, grace)) and not stopping.requested:
            now = position()
            vain = vain + 1 if now == before else 1
            before = now
            if vain > RESTARTS:
                raise ClusterError(f"{lost}; the cluster was started {vain} times since the newest checkpoint")
            print(f"{lost}; starting the cluster again from the newest checkpoint", flush=True)


def _attempt(
    command: Sequence[str], size: ClusterSize, logs: Path, stopping: Stopping, grace: float
) -> str | None:
    """Runs one cluster to its end; returns what was lost, or None when the coordinator ended well."""
    servers = LocalCluster(size, logs)
    try:
        servers.launch()
        with _Coordinator(command, servers.tf_config) as coordinator:
            servers.wait_until_accepting()
            while (code := coordinator.wait(0.2)) is None:
                if stopping.requested:
                    coordinator.end(grace)
                    return None
                for name in coordinator.hung():
                    print(f"{name} does not answer: ending it", flush=True)
                    servers.kill(name)
                servers.restart_workers()
                servers.check()
            return coordinator.verdict(code)
    except ClusterError as error:
        return str(error).partition(";")[0]
    finally:
        servers.stop()


class _Coordinator:
    """The coordinator's process, with a pipe on which it tells things."""

    def __init__(self, command: Sequence[str], tf_config: Mapping[str, Any]) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self._text = b""
        self._told: list[dict[str, Any]] = []
        environment = {
            **os.environ,
            "TF_CONFIG": json.dumps(tf_config),
            "PYTHONPATH": os.pathsep.join(
                part for part in (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")) if part
            ),
            PARENT: str(os.getpid()),
            _REPORT: str(write),
        }
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, env=environment, pass_fds=[write], start_new_session=True
        )
        os.close(write)

    def __enter__(self) -> _Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._read)

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None while it runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL where that does not end it within ``grace`` seconds and two."""
        self._process.send_signal(signal.SIGTERM)
        if self.wait(grace + 2) is None:
            self._process.kill()
            self._process.wait()

    def hung(self) -> list[str]:
        """The workers that it has since told to hang."""
        try:
            while part := os.read(self._read, 1 << 16):
                self._text += part
        except BlockingIOError:
            pass
        *lines, self._text = self._text.split(b"\n")
        self._told += [json.loads(line) for line in lines]
        return [message["hung"] for message in self._take("hung")]

    def _take(self, kind: str) -> list[dict[str, Any]]:
        found = [message for message in self._told if kind in message]
        self._told = [message for message in self._told if kind not in message]
        return found

    def verdict(self, code: int) -> str | None:
        """What was lost, None for nothing; raises the error that the coordinator told of."""
        if code == 0:
            return None
        if code == AGAIN:
            return "the coordinator lost its cluster"
        if code < 0:
            return f"the coordinator was ended by signal {-code}"
        self.hung()
        for message in self._take("error"):
            kind = ValueError if message["input"] else CoordinatorFailed
            raise kind(message["error"]) from CoordinatorFailed(message["traceback"])
        raise CoordinatorFailed(f"the coordinator ended with code {code}")
