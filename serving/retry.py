"""When a client asks again, and how long it waits before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from serving.status import StatusError

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """Tries again after UNAVAILABLE alone: nobody answered, or a server said that it cannot now.

    Every other failure would come again (INVALID_ARGUMENT, NOT_FOUND), or the server may still be at work on the
    request (DEADLINE_EXCEEDED), and asking again would only add to its load.

    Attributes:
        retries: how often a call is tried again, at most.
        first_wait: seconds before the first retry; twice as long before each further one.
        longest_wait: what that stops at. The wait is drawn between half of it and the whole, so that clients that lost
            a server together do not come back together.
    """

    retries: int
    first_wait: float = 0.05
    longest_wait: float = 1.0

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries must not be negative, got {self.retries}")
        if not 0 <= self.first_wait <= self.longest_wait:
            raise ValueError(
                f"first_wait must lie in 0..longest_wait ({self.longest_wait:g}), got {self.first_wait:g}"
            )

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each retry."""
        for number in range(self.retries):
            wait = min(self.first_wait * 2**number, self.longest_wait)
            yield random.uniform(wait / 2, wait)

    def run(
        self,
        attempt: Callable[[float], T],
        seconds: float,
        failed: Callable[[StatusError, int], Exception],
    ) -> T:
        """What `attempt` returns in the end.

        Args:
            attempt: one try; it is given the seconds that are left.
            seconds: that all tries and waits together may take; a retry that could not begin in time is not waited for.
            failed: the error to raise, from the last try's status and the number of tries.
        """
        deadline = time.monotonic() + seconds
        waits = self.waits()
        tries = 0
        while True:
            tries += 1
            try:
                return attempt(max(deadline - time.monotonic(), 0.001))
            except StatusError as error:
                wait = next(waits, None) if error.code is grpc.StatusCode.UNAVAILABLE else None
                if wait is None or time.monotonic() + wait >= deadline:
                    raise failed(error, tries) from error
            time.sleep(wait)
