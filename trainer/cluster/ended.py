"""How many calls have ended, counted by the threads that wait for them."""

from __future__ import annotations

import threading


class Ended:
    """A count that several threads raise.

    A call's staleness is what others add between its beginning and its end: it may have read parameters that lack
    their updates.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def another(self) -> int:
        """Counts one more; returns the count with it."""
        with self._lock:
            self.count += 1
            return self.count
