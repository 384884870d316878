"""The texts the language model is given: data files beside the code, one text a line."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "prompts"
_BREAK = " | "


@cache
def read_lines(name: str) -> list[tuple[str, ...]]:
    """The fields of each line of ``<name>.txt``; ``\\n`` in a field is a new line.

    Raises:
        ValueError: a line has another number of fields than the first.
    """
    path = FOLDER / f"{name}.txt"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    fields = [tuple(part.replace("\\n", "\n") for part in line.split(_BREAK)) for line in lines]
    if odd := next((line for line in fields if len(line) != len(fields[0])), None):
        raise ValueError(f"{path.name}: every line must have {len(fields[0])} fields, received {odd!r}")
    return fields


def read_named(name: str) -> dict[str, str]:
    """The texts of a file with two fields a line, by the first one."""
    return dict(read_lines(name))
