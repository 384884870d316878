"""A table's row as the text a language model reads."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

_SEPARATORS = " \t\n.,;:|/-"


class Template:
    """``{column}`` stands for the column's value: HTML entities resolved, white space collapsed, lists joined
    by commas.

    A missing or empty value takes the literal text before it along, and what then comes first loses its
    leading separator: ``"{title}. {categories}"`` without a title is the categories alone. A row without any
    value renders as "".
    """

    def __init__(self, template: str, columns: Sequence[str]) -> None:
        """
        Raises:
            ValueError: a field is not a plain ``{column}``, names no column, or there is none.
        """
        self._pieces: list[tuple[str, str]] = []  # literal text, then the column's name
        self._end = ""
        for literal, field, form, conversion in Formatter().parse(template):
            if field is None:
                self._end = literal
            elif field not in columns or form or conversion:
                raise ValueError(
                    f"template: each field is a plain {{column}} of {list(columns)}, received {field!r}"
                    f" in {template!r}"
                )
            else:
                self._pieces.append((literal, field))
        if not self._pieces:
            raise ValueError(f"template: needs at least one {{column}}, received {template!r}")
        self.columns = tuple(dict.fromkeys(field for _, field in self._pieces))

    def render(self, row: Mapping[str, Any]) -> str:
        """The row's text, or "" where all its values are missing."""
        text = ""
        for literal, field in self._pieces:
            if value := plain(row[field]):
                text += (literal if text else literal.lstrip(_SEPARATORS)) + value
        return text + self._end if text else ""


def plain(value: Any) -> str:
    """A column's value as text, "" where it is missing; entities, white space and lists as in `Template`."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(plain, value)))
    return " ".join(html.unescape(str(value)).split())
