"""The errors that readers and writers of this room raise."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used: says which file, which field, which rule, and the value received."""

    def __init__(self, rule: str, *, file: object = "", field: str = "", value: object = None):
        self.rule, self.file, self.field, self.value = rule, str(file), field, value
        where = ", ".join(part for part in (self.file, field and f"field {field!r}") if part)
        got = "" if value is None else f" (got {value!r})"
        super().__init__(f"{where}: {rule}{got}" if where else f"{rule}{got}")


class StoreUnavailable(Exception):
    """The online store cannot be reached, or cannot answer."""


class StoreTimeout(StoreUnavailable):
    """The online store did not answer in time."""
