"""A session of the chatbot as a client sends it, by the declarations that the log is checked by (`sessions`)."""

from __future__ import annotations

from typing import Any

from feature_store.checks import require
from feature_store.session_schema import INTENTS, SessionFeature, SessionSchema

MAX_TEXT = 2000
"""Characters of one text."""
_MOST = 3.4e38  # of a number, in float32


def row(given: Any, schema: SessionSchema) -> dict[str, Any]:
    """Values of all the schema's features, None where nothing was given.

    Args:
        given: features by name, as JSON has them; one that is missing or null is not known.
    Raises:
        ValueError: it is no such object; a feature is none of the schema's; a value is of another type, too long, an id
            that its dictionary does not have; lists of one group differ in length.
    """
    require(isinstance(given, dict), "session", "must be an object of features", _shown(given))
    names = {each.name for each in schema.features}
    for name in given:
        require(name in names, "session", "must hold features of the run's schema alone", _shown(name))
    found = {each.name: _value(each, given.get(each.name), schema) for each in schema.features}
    for group, members in schema.groups.items():
        lengths = {each.name: len(found[each.name] or ()) for each in members}
        rule = f"must be as long as each other, being of the group {group!r}"
        require(len(set(lengths.values())) == 1, f"session.{', '.join(lengths)}", rule, list(lengths.values()))
    return found


def _value(feature: SessionFeature, value: Any, schema: SessionSchema) -> Any:
    if value is None:
        return None
    where = f"session.{feature.name}"
    if not feature.is_list:
        return _one(feature, value, schema, where)
    require(isinstance(value, list), where, "must be a list, the oldest first", _shown(value))
    return [_one(feature, one, schema, where) for one in value[-feature.length :]]


def _one(feature: SessionFeature, value: Any, schema: SessionSchema, where: str) -> Any:
    if feature.dtype == "float32":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fine = number and abs(value) <= _MOST  # not NaN either
        require(fine, where, "must be a number", _shown(value))
        return float(value)
    if feature.dtype == "int64":
        known = schema.dictionaries[feature.dictionary]
        fine = type(value) is int and value in known
        require(fine, where, f"must be an id of {feature.dictionary} (1 to {len(known)})", _shown(value))
        return value
    what = "an intent's id" if feature.dictionary == INTENTS else "text"
    fine = isinstance(value, str) and len(value) <= MAX_TEXT and _encodes(value)
    require(fine, where, f"must be {what} of at most {MAX_TEXT:,} characters", _shown(value))
    return value


def _encodes(text: str) -> bool:
    """Half a surrogate pair is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> Any:
    """As an error repeats it."""
    text = repr(value) if isinstance(value, str | int | float | bool) or value is None else type(value).__name__
    return value if len(text) <= 60 and not isinstance(value, list | dict) else text[:60]
