"""Which texts go through the model together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def length_batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Splits texts into batches of at most ``batch_tokens`` padded tokens, the longest texts first.

    A batch ends where the length changes if it is at least half full by then: most batches then hold one
    length, and need neither padding nor a mask.

    Args:
        lengths: (n,) tokens of each text, all at least 1.
    Yields:
        positions in ``lengths``; every position comes exactly once. A text longer than ``batch_tokens`` is a
        batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    falling = lengths[order]
    start = 0
    while start < len(order):
        longest = falling[start]
        stop = min(start + max(1, batch_tokens // longest), len(order))
        same = start + int(np.searchsorted(-falling[start:stop], -longest, side="right"))
        if same < stop and 2 * (same - start) * longest >= batch_tokens:
            stop = same
        yield order[start:stop]
        start = stop
