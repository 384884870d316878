"""Turn plain values, as YAML gives them, into typed dataclasses, and say where they do not fit."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from antiphon.strict_yaml import parse_yaml


class ConfigError(ValueError):
    """A config that breaks a rule; the message names the file, the field, the rule and the value."""


class Override(str):
    """A value from the command line: text until the type of its field is known."""


def join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def convert(value: Any, kind: Any, path: str, **ready: Any) -> Any:
    """`value` as `kind`: a dataclass, str, int, float, bool, tuple[X, ...], dict[str, X] or X | None.

    Args:
        path: the field's name in messages, "train.model.d".
        ready: for a dataclass, fields that are converted already.

    Raises:
        ConfigError: naming `path`, the rule and the value.
    """
    if isinstance(value, Override) and kind is not str:
        value = _parse(value, path)
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, path, ready)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return convert(value, kind, path)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(path, "a list", value)
        return tuple(convert(item, arguments[0], f"{path}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(path, "a mapping", value)
        return {str(key): convert(item, arguments[1], join(path, key)) for key, item in value.items()}
    return _scalar(value, kind, path)


def reject_unknown(tree: Mapping[str, Any], kind: type, path: str) -> None:
    """Raise on a key that is no field of the dataclass `kind`, with the nearest field's name."""
    names = [field.name for field in dataclasses.fields(kind)]
    for key in tree:
        if key in names:
            continue
        near = difflib.get_close_matches(str(key), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(names)}"
        raise ConfigError(f"{join(path, key)}: there is no such field; {hint} (received {tree[key]!r})")


def _dataclass(value: Any, kind: type, path: str, ready: Mapping[str, Any]) -> Any:
    if value is None:  # a section that is named and left empty
        value = {}
    if not isinstance(value, dict):
        raise _wrong(path, "a mapping", value)
    reject_unknown(value, kind, path)
    hints = typing.get_type_hints(kind)
    fields = {key: convert(item, hints[key], join(path, key)) for key, item in value.items()} | dict(ready)
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in fields:
            raise ConfigError(f"{join(path, field.name)}: must be given")
    try:
        return kind(**fields)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(join(path, str(error))) from None


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _scalar(value: Any, kind: type, path: str) -> Any:
    if kind is str and isinstance(value, str):
        return str(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is kind:
        return value
    if kind not in _NAMES:
        raise TypeError(f"{path}: a config field cannot have the type {kind!r}")
    raise _wrong(path, _NAMES[kind], value)


def _wrong(path: str, rule: str, value: Any) -> ConfigError:
    return ConfigError(f"{path or 'the file'}: must be {rule}, received {value!r}")


def _parse(text: str, path: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: the value {str(text)!r} is not YAML: {error}") from None
