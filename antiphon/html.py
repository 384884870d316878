"""HTML and SVG as nested calls; text is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is markup already and is not escaped again."""


Child = str | int | float | None | Iterable["Child"]


def element(name: str, *children: Child, **attributes: str | float | None) -> Markup:
    """`<name attributes>children</name>`. An attribute's trailing _ is dropped, another _ becomes -."""
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{named}>{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """Markup as it is, text escaped, None left out, the rest in order."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int | float):
        return Markup(escape(str(children)))
    return Markup("".join(join(child) for child in children))


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], numeric: bool = True) -> Markup:
    """A table that scrolls by itself where the page is narrow; the first column names the row."""
    titles = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", *(
            element("th", cell, scope="row") if column == 0 else element("td", cell)
            for column, cell in enumerate(row)
        ))
        for row in rows
    ]  # fmt: skip
    kind = "numbers" if numeric else None
    return element(
        "div",
        element("table", element("thead", titles), element("tbody", *body), class_=kind),
        class_="scroll",
    )
