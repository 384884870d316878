"""Requests that are nearly right."""

from __future__ import annotations

import random

JSON, PROTOBUF = (b"[" * 40, b"9" * 30), (b"\xff" * 9,)
"""What is hard to read in a body of that kind."""


def mutated(body: bytes, draw: random.Random, hard: tuple[bytes, ...] = JSON) -> bytes:
    """`body` cut off somewhere, or with a few bytes changed, removed, repeated, or ``hard`` ones in their place."""
    if draw.random() < 0.3:
        return body[: draw.randrange(len(body))]
    changed = bytearray(body)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(changed))
        end = min(start + draw.randint(0, 4), len(changed))
        changed[start:end] = draw.choice([draw.randbytes(3), *hard, b"", changed[start:end] * 3])
    return bytes(changed)
