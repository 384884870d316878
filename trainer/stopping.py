"""Ending in good order: the first SIGTERM or SIGINT is noted, and acted on when what it interrupts is safe."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType


class Stopping:
    """Within the block a signal to end is only noted; after it the signal takes the way it had before.

    A second signal is not held up. Has an effect in the main thread only, where Python handles signals.

    Args:
        grace: seconds from the signal until a block that has not ended is ended with its process, with code 128 + the
            signal's number; None for no limit.
    """

    def __init__(self, grace: float | None = None) -> None:
        self._grace = grace
        self._number = 0
        self._asked = 0.0
        self._before: dict[int, object] = {}
        self._limit: threading.Timer | None = None

    @property
    def requested(self) -> bool:
        """A signal has come."""
        return self._number != 0

    @property
    def overdue(self) -> bool:
        """Half of the grace period is over."""
        return self.requested and self._grace is not None and time.monotonic() - self._asked > self._grace / 2

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._ask) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore()
        if self._limit is not None:
            self._limit.cancel()
        if self.requested and kind is None:
            sys.stdout.flush()
            signal.raise_signal(self._number)

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._restore()
        self._number, self._asked = number, time.monotonic()
        if self._grace is not None:
            self._limit = threading.Timer(self._grace, os._exit, (128 + number,))
            self._limit.daemon = True
            self._limit.start()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
