"""A cluster on this machine: parameter servers and workers as operating-system processes of their own.

TensorFlow is not imported here, so that a command line can start the servers while it loads TensorFlow.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

PARENT = "ANTIPHON_CLUSTER_PARENT"  # the process whose end ends a server

MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824"
)
"""For GLIBC_TUNABLES: big tables in huge pages, and what a step frees stays with the process for the next one."""

VAIN = 4  # times a worker may end soon after its start before that is an error

_LOG_TAIL = 2000  # bytes of a dead server's log shown in the error


class ClusterError(RuntimeError):
    """A server of the cluster did not start, or died."""


@dataclass(frozen=True)
class ClusterSize:
    """How many servers of each role.

    Raises:
        ValueError: fewer than one of either.
    """

    ps: int = 1
    workers: int = 1

    def __post_init__(self):
        for role in ("ps", "workers"):
            if getattr(self, role) < 1:
                raise ValueError(f"cluster: {role} must be at least 1, got {getattr(self, role)}")

    @classmethod
    def parse(cls, text: str) -> ClusterSize:
        """Reads "ps=2,workers=2". Raises ValueError that names the part which is wrong."""
        counts: dict[str, int] = {}
        for part in text.split(","):
            match = re.fullmatch(r"\s*(ps|workers)\s*=\s*(\d+)\s*", part)
            if not match:
                raise ValueError(f'cluster: expected "ps=2,workers=2" or the like, got {part!r} in {text!r}')
            role, count = match.groups()
            if role in counts:
                raise ValueError(f"cluster: {role} is given twice in {text!r}")
            counts[role] = int(count)
        return cls(**counts)


class LocalCluster:
    """Starts the servers of a cluster, waits until they accept connections, and ends them.

        with LocalCluster(ClusterSize(ps=2, workers=2), logs=run / "logs") as servers:
            cluster = strategy.connect(servers.tf_config)

    The servers end with the ``with`` block, with the interpreter, and with this process however it dies,
    SIGKILL included: each watches its parent. Start it, and restart its workers, from the main thread.

    Args:
        size: how many servers of each role.
        logs: folder of the servers' logs, ``<role>-<index>.log``.
        threads: threads in which one server computes; by default the cores, shared among the workers.
        timeout: seconds until every server must accept connections.

    Raises:
        ClusterError: a server died or did not accept in time; the message has the end of its log.
    """

    def __init__(self, size: ClusterSize, logs: Path, threads: int | None = None, timeout: float = 120.0):
        self._size = size
        self._logs = Path(logs)
        self._threads = threads or max(1, len(os.sched_getaffinity(0)) // size.workers)
        self._timeout = timeout
        self._servers: dict[str, subprocess.Popen] = {}
        self._started: dict[str, float] = {}
        self._short: dict[str, int] = {}  # by worker, how often in succession it ended soon after its start
        self._held = ExitStack()
        self._spec: dict[str, list[str]] = {}

    @property
    def tf_config(self) -> dict:
        """TF_CONFIG of the coordinator."""
        return {"cluster": self._spec, "task": {"type": "chief", "index": 0}}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: "ps-0", "worker-0", …"""
        return {name: server.pid for name, server in self._servers.items()}

    def __enter__(self) -> LocalCluster:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the servers and waits until they accept connections."""
        try:
            self.launch()
            self.wait_until_accepting()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raises ClusterError, with the end of its log, when a server has died."""
        for name, server in self._servers.items():
            if server.poll() is not None:
                raise ClusterError(
                    f"{name} ended with code {server.returncode}; the end of its log:\n{self._tail(name)}"
                )

    def kill(self, name: str) -> None:
        """Ends one server at once, also one that hangs."""
        self._servers[name].kill()
        self._servers[name].wait()

    def restart(self, name: str) -> None:
        """Starts a server that has ended again, at its address; its log goes on."""
        role, index = name.split("-")
        self._servers[name] = self._launch_server(role, int(index))

    def restart_workers(self) -> list[str]:
        """Starts every worker that has died again; returns their names.

        Raises:
            ClusterError: a worker died ``VAIN`` times in succession, each time within a minute of its start.
        """
        dead = [n for n, s in self._servers.items() if n.startswith("worker") and s.poll() is not None]
        for name in dead:
            code, lived = self._servers[name].returncode, time.monotonic() - self._started[name]
            self._short[name] = self._short.get(name, 0) + 1 if lived < 60 else 0
            if self._short[name] >= VAIN:
                raise ClusterError(
                    f"{name} ended {VAIN} times soon after its start, with code {code}; "
                    f"the end of its log:\n{self._tail(name)}"
                )
            print(f"{name} ended with code {code}: starting it again", flush=True)
            self.restart(name)
        return dead

    def stop(self) -> None:
        """Ends every server: SIGTERM, then SIGKILL after five seconds. Calling it again does nothing."""
        atexit.unregister(self.stop)
        for server in self._servers.values():
            if server.poll() is None:
                server.terminate()
        end = time.monotonic() + 5
        for server in self._servers.values():
            try:
                server.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        self._held.close()

    def launch(self) -> None:
        """Starts the servers; ``tf_config`` is known from then on."""
        atexit.register(self.stop)
        self._spec = {
            "chief": [self._free_address()],
            "ps": [self._free_address() for _ in range(self._size.ps)],
            "worker": [self._free_address() for _ in range(self._size.workers)],
        }
        os.environ["TF_GRPC_REUSE_PORT"] = "true"
        self._logs.mkdir(parents=True, exist_ok=True)
        for role in ("ps", "worker"):
            for index in range(len(self._spec[role])):
                self._servers[f"{role}-{index}"] = self._launch_server(role, index)

    def _launch_server(self, role: str, index: int) -> subprocess.Popen:
        environment = {
            **os.environ,
            "TF_CONFIG": json.dumps({"cluster": self._spec, "task": {"type": role, "index": index}}),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *_python_path()]),
            PARENT: str(os.getpid()),
        }
        environment.setdefault("GLIBC_TUNABLES", MALLOC)
        if role == "ps":
            environment["CUDA_VISIBLE_DEVICES"] = "-1"
        name = f"{role}-{index}"
        self._started[name] = time.monotonic()
        with open(self._logs / f"{name}.log", "ab" if name in self._servers else "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "trainer.cluster.server", f"--threads={self._threads}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the coordinator alone, which then ends them in order
            )

    def _free_address(self) -> str:
        """An address nobody else can take meanwhile: the socket stays bound, and gRPC binds it beside us."""
        holder = self._held.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{holder.getsockname()[1]}"

    def wait_until_accepting(self) -> None:
        """Raises ClusterError when a server died or did not accept connections in time."""
        end = time.monotonic() + self._timeout
        waiting = {
            f"{role}-{index}": address
            for role in ("ps", "worker")
            for index, address in enumerate(self._spec[role])
        }
        while waiting:
            self.check()
            for name, address in list(waiting.items()):
                host, port = address.split(":")
                try:
                    socket.create_connection((host, int(port)), timeout=1).close()
                except OSError:
                    continue
                del waiting[name]
            if waiting and time.monotonic() > end:
                name = next(iter(waiting))
                raise ClusterError(
                    f"{name} did not accept connections at {waiting[name]} within {self._timeout:g} s; "
                    f"the end of its log:\n{self._tail(name)}"
                )
            time.sleep(0.05)

    def _tail(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_bytes()[-_LOG_TAIL:].decode(errors="replace")


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
