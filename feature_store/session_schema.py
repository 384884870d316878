"""What is known of a user at the moment of opening the chatbot, declared once.

The sessions' columns, the check of one's own logs, the requests that the ranker learns from and the words in which a
language model is told of it all derive from these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from feature_store.checks import at_least, one_of, require
from feature_store.schema import Field, arrow_schema

PROFILE, BEHAVIOUR, CONTEXT = "profile", "behaviour", "context"
DIMENSIONS = (PROFILE, BEHAVIOUR, CONTEXT)
KINDS = ("id", "number", "text", "ids", "numbers", "texts")
INTENTS = "intents"
"""The dictionary of the knowledge base: an intent's id to its title."""

SESSION_ID, USER_ID, SESSION_TIME = "session_id", "user_id", "session_time"
SHOWN, CLICKED, TRUE = "shown", "clicked", "intents"
FIXED = (
    Field(SESSION_ID, required=True),
    Field(USER_ID, required=True),
    Field(SESSION_TIME, "timestamp", required=True),
    Field(SHOWN, shape=(None,), vocabulary=INTENTS),
    Field(CLICKED, shape=(None,), vocabulary=INTENTS),
    Field(TRUE, shape=(None,), vocabulary=INTENTS),
)
"""Columns of every session: the slate in its order, what of it was clicked, and the true intents where annotators told
them (sessions of the test week)."""


@dataclass(frozen=True)
class SessionFeature:
    """One thing known of a session.

    Raises:
        ValueError: a field breaks its rule.
    """

    name: str
    label: str  # what it is called where it is told in words
    dimension: str = CONTEXT  # profile | behaviour | context
    kind: str = "number"  # id | number | text, or the plural of one: a list, oldest first
    dictionary: str = ""  # of ids: which one turns them into words; "intents" is the knowledge base, its ids strings
    unit: str = ""  # of numbers: after the figure
    quiet: tuple[Any, ...] = ()  # values that go without saying (as they are stored)
    group: str = ""  # of lists: those of one group are about the same things, one by one
    length: int = 0  # of lists, at most; the newest count
    log: bool = False  # of numbers that are not below 0: models read log(1 + x)
    told: bool = True  # whether a language model is told of it, unless asked otherwise

    def __post_init__(self) -> None:
        where = f"feature {self.name!r}: "
        require(bool(self.name) and self.name not in {each.name for each in FIXED}, "a feature's name",
                "must be given, and not that of a session's own column", self.name)  # fmt: skip
        require(bool(self.label), where + "label", "must be given", self.label)
        one_of(where + "dimension", self.dimension, DIMENSIONS)
        one_of(where + "kind", self.kind, KINDS)
        needs = self.kind in ("id", "ids")
        rule = "must be named for ids, and for nothing else"
        require(bool(self.dictionary) == needs, where + "dictionary", rule, self.dictionary)
        if self.is_list:
            at_least(where + "length", self.length, 1)
        else:
            for name in ("length", "group"):
                given = getattr(self, name)
                require(not given, where + name, f"must be empty with kind {self.kind!r}", given)
        numeric = self.kind in ("number", "numbers")
        require(numeric or not (self.unit or self.log), where + "unit and log", "are of numbers", self.unit)

    @property
    def is_list(self) -> bool:
        return self.kind in ("ids", "numbers", "texts")

    @property
    def dtype(self) -> str:
        if self.kind in ("number", "numbers"):
            return "float32"
        ids = self.kind in ("id", "ids") and self.dictionary != INTENTS
        return "int64" if ids else "string"

    @property
    def field(self) -> Field:
        """The column."""
        return Field(self.name, self.dtype, (None,) if self.is_list else (), max_length=self.length)


@dataclass(frozen=True)
class SessionSchema:
    """The features of a chatbot's sessions and what their ids mean.

    ``dictionaries`` gives each one's ids, from 1 on, as words.

    Raises:
        ValueError: two features of one name, or a dictionary that is not there.
    """

    features: tuple[SessionFeature, ...]
    dictionaries: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [each.name for each in self.features]
        require(len(set(names)) == len(names), "features", "must have a name each", names)
        require(INTENTS not in self.dictionaries, "dictionaries", "must leave out the knowledge base", INTENTS)
        for each in self.features:
            known = not each.dictionary or each.dictionary in (INTENTS, *self.dictionaries)
            rule = f"must be one of {', '.join(self.dictionaries)}"
            require(known, f"feature {each.name!r}: dictionary", rule, each.dictionary)

    def feature(self, name: str) -> SessionFeature:
        for each in self.features:
            if each.name == name:
                return each
        raise ValueError(f"a feature must be one of {', '.join(f.name for f in self.features)}, received {name!r}")

    @property
    def fields(self) -> tuple[Field, ...]:
        """All columns of the sessions."""
        return (*FIXED, *(each.field for each in self.features))

    def arrow(self) -> pa.Schema:
        return arrow_schema(self.fields)

    @property
    def groups(self) -> dict[str, list[SessionFeature]]:
        """The coupled lists, by group."""
        found: dict[str, list[SessionFeature]] = {}
        for each in self.features:
            if each.group:
                found.setdefault(each.group, []).append(each)
        return found

    def to_json(self) -> dict[str, Any]:
        words = {name: {str(key): word for key, word in ids.items()} for name, ids in self.dictionaries.items()}
        return {"features": [asdict(each) for each in self.features], "dictionaries": words}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SessionSchema:
        """What ``to_json`` made, or anybody wrote in its form.

        Raises:
            ValueError: it is not in that form, or a field breaks its rule.
        """
        try:
            features = [
                SessionFeature(**{**entry, "quiet": tuple(entry.get("quiet", ()))}) for entry in data["features"]
            ]
            words = {
                str(name): {int(key): str(word) for key, word in ids.items()}
                for name, ids in data.get("dictionaries", {}).items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the schema of sessions must hold features and dictionaries: {error}") from None
        return cls(tuple(features), words)
