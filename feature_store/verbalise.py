"""Features in words: what a language model is told of a session (RGAlign-Rec §3.2, Table 1).

An id becomes its word by the metadata dictionary; a feature becomes a fragment "label: words"; fragments are put
together by dimension, profile first and the context, which decides most, last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feature_store.checks import at_least
from feature_store.session_schema import BEHAVIOUR, CONTEXT, INTENTS, PROFILE, SessionFeature, SessionSchema

_TITLES = {PROFILE: "User Profile", BEHAVIOUR: "Behaviour", CONTEXT: "Context"}


class Verbaliser:
    """The words for sessions of a schema.

    Args:
        titles: the knowledge base's, by intent id. An intent that is no longer there goes by its id.
        features: which are told, by name; none given are those that the schema says.
        most: of a list, the newest that are told.
    Raises:
        ValueError: a feature is not in the schema.
    """

    def __init__(
        self, schema: SessionSchema, titles: Mapping[str, str], features: Sequence[str] = (), most: int = 4
    ) -> None:
        at_least("most", most, 1)
        chosen = {schema.feature(name).name for name in features}
        told = [each for each in schema.features if (each.name in chosen if features else each.told)]
        self._words = {**schema.dictionaries, INTENTS: titles}
        self._most = most
        self._parts: dict[str, list[list[SessionFeature]]] = {dimension: [] for dimension in _TITLES}
        grouped: dict[str, list[SessionFeature]] = {}
        for each in told:
            if each.group and each.group in grouped:
                grouped[each.group].append(each)
                continue
            part = [each]
            if each.group:
                grouped[each.group] = part
            self._parts[each.dimension].append(part)
        self.columns = tuple(each.name for each in told)

    def render(self, row: Mapping[str, Any]) -> str:
        """A line a dimension; "" where nothing is to be told.

        Args:
            row: the values of ``columns``, null where there is none.
        """
        lines = []
        for dimension, title in _TITLES.items():
            fragments = [text for part in self._parts[dimension] if (text := self._fragment(part, row))]
            if fragments:
                lines.append(f"{title}: {', '.join(fragments)}")
        return "\n".join(lines)

    def _fragment(self, part: list[SessionFeature], row: Mapping[str, Any]) -> str:
        """ "label: words", or "" where nothing was given or it goes without saying."""
        first = part[0]
        if first.is_list:
            entries = self._entries(part, row)
            return f"{first.label}: ({', '.join(entries)})" if entries else ""
        value = row[first.name]
        if value is None or value == "" or value in first.quiet:
            return ""
        words = self._one(first, value)
        return f"{first.label}: {words}" if words else ""

    def _entries(self, part: list[SessionFeature], row: Mapping[str, Any]) -> list[str]:
        """One text for each of the newest things that a group of lists is about, oldest first."""
        entries = []
        lists = [(row[each.name] or [])[-self._most :] for each in part]
        for values in zip(*lists, strict=True):
            words = [self._one(each, value) for each, value in zip(part, values, strict=True)]
            name, rest = words[0], [word for word in words[1:] if word]
            quoted = f"'{name}'" if part[0].kind != "numbers" else name
            entries.append(quoted + (f" ({', '.join(rest)})" if rest else ""))
        return entries

    def _one(self, feature: SessionFeature, value: Any) -> str:
        if value is None:
            return ""
        if feature.kind in ("id", "ids"):
            return str(self._words[feature.dictionary].get(value, value if feature.dictionary == INTENTS else ""))
        if feature.kind in ("number", "numbers"):
            figure = f"{round(value, 2):g}" if abs(value) < 1e6 else f"{value:.0f}"
            return f"{figure} {feature.unit}".rstrip()
        return " ".join(value.split())
