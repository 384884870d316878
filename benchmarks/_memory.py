"""The most memory that processes of this machine have held."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

KIB_PER_GIB = 2**20


class PeakMemory:
    """Watches processes while a block runs; Linux only.

        with PeakMemory({"coordinator": os.getpid(), **servers.pids}) as memory:
            ...
            memory.gib()

    ``resident`` is the kernel's own high-water mark (VmHWM), which counts pages of mapped files too, though the kernel
    takes those back when it needs them; ``own`` is without them (RssAnon, sampled).
    """

    def __init__(self, pids: Mapping[str, int], every: float = 0.1) -> None:
        self._pids, self._every = dict(pids), every
        self._own = dict.fromkeys(self._pids, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def gib(self) -> dict[str, dict[str, float]]:
        """By process, {"resident", "own"} in GiB; while the processes live."""
        self._sample()
        return {
            name: {
                "resident": round(_status(pid)["VmHWM"] / KIB_PER_GIB, 3),
                "own": round(self._own[name] / KIB_PER_GIB, 3),
            }
            for name, pid in self._pids.items()
        }

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self._sample()

    def _sample(self) -> None:
        for name, pid in self._pids.items():
            self._own[name] = max(self._own[name], _status(pid).get("RssAnon", 0))


def _status(pid: int) -> dict[str, int]:
    """The lines of /proc/<pid>/status that are in kB; none of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
    return {name: int(value.split()[0]) for name, value in pairs}
