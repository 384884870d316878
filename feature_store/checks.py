"""Checks that every config makes of its values: each names the argument, the rule and the value received."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def require(ok: bool, name: str, rule: str, value: object) -> None:
    """Raise ValueError "`name` `rule`, received `value`" unless `ok`."""
    if not ok:
        raise ValueError(f"{name} {rule}, received {value!r}")


def at_least(name: str, value: float, low: float) -> None:
    """As `require`, of a number that may be ``low``."""
    require(value >= low, name, f"must be at least {low:g}", value)


def above(name: str, value: float, low: float) -> None:
    """As `require`, of a number that must not be ``low`` itself."""
    require(value > low, name, f"must be above {low:g}", value)


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """As `require`, naming all choices."""
    require(value in choices, name, f"must be one of {', '.join(map(repr, choices))}", value)


def iso_time(name: str, value: str) -> None:
    """As `require`, of a text that `datetime.fromisoformat` reads."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        require(False, name, "must be a date or time such as 2025-06-15 (ISO 8601)", value)
