"""Numbers that depend on a key alone: for samples of keys, and for who sees what."""

from __future__ import annotations

import hashlib


def uniform(salt: str, key: str) -> float:
    """A number in [0, 1) that is the same wherever and whenever it is computed; two salts give independent numbers."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=hashlib.blake2b(salt.encode()).digest()).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def digest(text: str) -> str:
    """Sixteen hex digits of a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
