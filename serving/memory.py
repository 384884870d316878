"""Hands memory that was freed back to the operating system."""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)


def give_back() -> None:
    """What the C library's allocator keeps of freed memory for later; nothing where it has no such call."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
