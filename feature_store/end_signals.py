"""Waiting to be told to end: what the house's servers do on their main thread."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Told:
    """Whether SIGTERM or SIGINT has come.

    Not a `threading.Event`: a handler that sets one waits for a lock which the main thread may hold where the handler
    interrupts it, in the middle of `wait`, and then neither goes on. Here the interpreter itself writes the signal's
    number into a pipe, from whichever thread the signal comes to.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._told = False

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for a signal, at most ``seconds``; whether one has come, in this call or before."""
        while not self._told and select.select([self._pipe], [], [], seconds)[0]:
            self._told = not set(_NUMBERS).isdisjoint(os.read(self._pipe, 64))
        return self._told


@contextlib.contextmanager
def until_told() -> Iterator[Told]:
    """Within the block SIGTERM and SIGINT are only noted. Must run on the main thread."""
    pipe, end = os.pipe()
    os.set_blocking(end, False)  # as the interpreter asks
    before = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda *_: None) for number in _NUMBERS}
    try:
        yield Told(pipe)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(end)
        os.close(pipe)
