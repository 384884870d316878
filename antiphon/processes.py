"""Run a stage as a process of its own, pass its output on, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

_GRACE = 8.0  # seconds a process has between SIGTERM and SIGKILL, beyond those it asks for
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

QUIET = {  # what every process we start sees, unless the user's environment says otherwise
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


class Stopped(KeyboardInterrupt):
    """The user, or the system by SIGTERM or SIGHUP, asked us to end."""


class Busy(RuntimeError):
    """Another process is at work in the run's folder."""


class StageFailed(RuntimeError):
    """A stage's process ended with an error, which it has told itself; `exit_code` is its own."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Within the block SIGINT, SIGTERM and SIGHUP raise `Stopped`, so that every `finally` is kept."""

    def stop(number: int, _: object) -> None:
        raise Stopped(signal.Signals(number).name)

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.signal(kind, stop) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[int]:
    """Hold `folder` against a second run; gives the open lock's file descriptor.

    The lock is the kernel's (flock): it ends with the last process that holds the descriptor.

    Raises:
        Busy: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise Busy(f"{folder}: another run (process {holder}) is at work in this folder") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield descriptor
    finally:
        os.close(descriptor)


def start(command: Sequence[str], held: Sequence[int] = (), output: int | None = None) -> subprocess.Popen:
    """Start `command` in a process group of its own, which Ctrl-C in the terminal does not reach.

    Args:
        held: file descriptors that the process holds open too, such as the folder's lock.
        output: where its standard output and error go; None leaves them as ours.
    """
    environment = {**QUIET, "COLUMNS": str(shutil.get_terminal_size().columns), **os.environ}
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=environment,
        process_group=0,
        pass_fds=tuple(held),
    )


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when our parent ends, so that a killed run leaves no stage behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(process: subprocess.Popen, grace: float = 0.0) -> None:
    """End `process` with all that descends from it: SIGTERM, and SIGKILL for what is still there later.

    Args:
        grace: seconds it may need to end in good order.
    """
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        _, alive = psutil.wait_procs(family, timeout=_GRACE + grace)
    except KeyboardInterrupt:  # asked a second time: wait no longer
        alive = family
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def run(command: Sequence[str], log: Path, held: Sequence[int] = (), grace: float = 0.0) -> int:
    """Run `command` to its end; what it prints is passed on and kept in `log`. Returns its exit code.

    However this is left (an error, Ctrl-C, SIGTERM), the process and its descendants are gone afterwards; they
    have ``grace`` seconds and a few to end in good order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process = start(command, held, subprocess.PIPE)
    with log.open("wb") as kept, process.stdout:
        tee = _Tee(kept)
        try:
            _pass_on(process, tee)
            return process.wait()
        finally:
            stop(process, grace)
            _pass_on(process, tee)  # what it said at its end


def _pass_on(process: subprocess.Popen, tee: _Tee) -> None:
    descriptor = process.stdout.fileno()
    ended = False
    while True:
        ready, _, _ = select.select([descriptor], [], [], 0.0 if ended else 0.2)
        data = os.read(descriptor, 1 << 16) if ready else b""
        if data:
            tee.write(data)
        elif ready or ended:  # closed, or silent after its end though a descendant still holds it open
            break
        ended = process.poll() is not None
    tee.finish()


# What TensorFlow's libraries say of themselves before any setting can quiet them; it stays in the log.
_NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I\d{4} [\d:. ]+|E\d{4} [\d:. ]+cuda_platform"
)


class _Tee:
    """Passes output on; a file, or an output that is no terminal, gets only a bar's last state."""

    def __init__(self, log: BinaryIO):
        self._log = log
        self._out = sys.stdout.buffer
        self._live = sys.stdout.isatty()
        self._line = b""  # the line under way
        self._shown = 0  # bytes of it that the terminal has

    def write(self, data: bytes) -> None:
        *lines, last = (self._line + data).split(b"\n")
        for line in lines:
            self._end(line)
        self._line = last
        if self._live and not _NOISE.match(last[self._shown :]):
            self._show(last[self._shown :])
            self._shown = len(last)

    def finish(self) -> None:
        if self._line:
            self._end(self._line)

    def _end(self, line: bytes) -> None:
        """A whole line, without its newline."""
        state = line.rstrip(b"\r").rsplit(b"\r")[-1] + b"\n"
        self._log.write(state)
        self._log.flush()
        rest = line[self._shown :] + b"\n" if self._live else state
        if not _NOISE.match(rest):
            self._show(rest)
        self._line, self._shown = b"", 0

    def _show(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()


def wait_for(condition, seconds: float, what: str, process: subprocess.Popen | None = None) -> None:
    """Call `condition` until it holds.

    Raises:
        TimeoutError: not within `seconds`.
        RuntimeError: `process` ended first.
    """
    end = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: its process ended with code {process.returncode}")
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
