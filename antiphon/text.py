"""Text for the terminal."""

from __future__ import annotations


def cut(text: str, width: int) -> str:
    """In one line of at most ``width`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
