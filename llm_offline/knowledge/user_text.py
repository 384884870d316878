"""A user's history and attributes as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from llm_offline.config import SourceConfig
from llm_offline.knowledge.texts import read_named
from llm_offline.prompts import Template, plain

TITLES, CATEGORIES = "titles", "categories"
_MOST_FREQUENT = 5


class UserText:
    """The texts made of a history: one a template, for `template` sources (CoCo §3.2, Figure 7, whose wording is not
    in print: ours is in ``prompts/templates.txt``); else the one of ``user_text``.

    Nothing but the given history and the user's attributes enters a text: a history that ends before a target keeps
    the target out.
    """

    def __init__(self, config: SourceConfig, columns: Sequence[str]) -> None:
        """
        Args:
            columns: of the users.
        Raises:
            ValueError: a template is not known, has no {titles}, or names a column that users do not have.
        """
        self._config = config
        named = read_named("templates")
        if config.kind == "template":
            name, texts = "templates", [named.get(text, text) for text in config.templates]
        else:
            name, texts = "user_text", [config.user_text]
        for text in texts:
            if f"{{{TITLES}}}" not in text:
                rule = f"must be one of {', '.join(named)}, or a text with {{titles}}" if name == "templates" else (
                    "must be a text with {titles}")  # fmt: skip
                raise ValueError(f"{config.section}.{name} {rule}, received {text!r}")
        known = list(dict.fromkeys((*columns, TITLES, CATEGORIES)))
        try:
            self._templates = [Template(text, known) for text in texts]
        except ValueError as error:
            raise ValueError(f"{config.section}.{name}: {error}") from None
        used = {column for template in self._templates for column in template.columns}
        self.columns = sorted(used - {TITLES, CATEGORIES})

    @property
    def parts(self) -> int:
        """Texts of one history, m."""
        return len(self._templates)

    def render(
        self, user: Mapping[str, Any], history: Sequence[str], items: Mapping[str, Mapping[str, Any]]
    ) -> list[str]:
        """The texts; "" where the history has no title.

        Args:
            user: the values of ``columns``. history: item ids, oldest first.
            items: title and categories of the history's items by id.
        """
        rows = [items[item] for item in history if item in items]
        titles = self._titles([plain(row["title"]) for row in rows])
        if not titles:
            return [""] * self.parts
        counts = Counter(plain(name) for row in rows for name in row["categories"] or ())
        counts.pop("", None)
        frequent = sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_FREQUENT]
        values = {**user, TITLES: titles, CATEGORIES: frequent}
        return [template.render(values) for template in self._templates]

    def _titles(self, titles: Sequence[str]) -> str:
        """The newest titles, oldest first, as many whole ones as fit; of a newest that alone is longer, its start."""
        chosen: list[str] = []
        room = self._config.max_characters
        for title in reversed([title for title in titles if title][-self._config.max_titles :]):
            if chosen and len(title) + 2 > room:
                break
            chosen.append(title[:room])
            room -= len(chosen[-1]) + 2
        return "; ".join(reversed(chosen))
