"""Raw columns to typed ones, a column at a time, with a mask of the values that could not be converted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.schema import Field

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_INTEGER = r"^\s*[+-]?[0-9]{1,18}\s*$"
_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"
_OFFSET = r"[Tt ][0-9:.,]+ ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$"
_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000  # microseconds since 1970


class Cast(NamedTuple):
    """``values`` is null where the raw value was missing or bad; ``bad`` (B,) marks the bad ones."""

    values: pa.Array
    bad: np.ndarray


def cast(column: pa.Array, field: Field, time_unit: str = "s") -> Cast:
    """Converts a raw column to the field's type.

    Integers become ids and floats; text becomes numbers where it reads as one; an empty text is a missing
    number or time. Times are ISO 8601 (without an offset: UTC), timestamps, or numbers in ``time_unit``
    since 1970. A list of strings may be text separated by ``|``.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return Cast(pa.nulls(len(column), field.arrow_type), np.zeros(len(column), bool))
    if field.is_list:
        return _to_list(column, field)
    return {"string": _to_string, "int64": _to_int64, "int8": _to_int8, "float32": _to_float32}.get(
        field.dtype, lambda raw: _to_timestamp(raw, time_unit)
    )(column)


def _is_text(column: pa.Array) -> bool:
    kind = column.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def true(condition: pa.Array) -> np.ndarray:
    """(n,) bool, False where the condition is null."""
    return pc.fill_null(condition, False).to_numpy(zero_copy_only=False)


def _keep(column: pa.Array, ok: np.ndarray) -> pa.Array:
    return pc.if_else(pa.array(ok), column, pa.scalar(None, column.type))


def _all_bad(column: pa.Array, target: pa.DataType) -> Cast:
    return Cast(pa.nulls(len(column), target), true(pc.is_valid(column)))


def _to_string(column: pa.Array) -> Cast:
    if _is_text(column):
        return Cast(column.cast(pa.string()), np.zeros(len(column), bool))
    if pa.types.is_integer(column.type):
        return Cast(column.cast(pa.string()), np.zeros(len(column), bool))
    if pa.types.is_floating(column.type):  # a reader that met a null may have turned integer ids into floats
        whole = _to_int64(column)
        return Cast(whole.values.cast(pa.string()), whole.bad)
    return _all_bad(column, pa.string())


def _to_int64(column: pa.Array) -> Cast:
    if _is_text(column):
        text = pc.utf8_trim_whitespace(column)
        ok = true(pc.match_substring_regex(text, _INTEGER))
        given = true(pc.not_equal(text, ""))
        digits = pc.replace_substring(_keep(text, ok), "+", "")
        return Cast(digits.cast(pa.int64()), given & ~ok)
    if pa.types.is_uint64(column.type):
        ok = true(pc.less_equal(column, pa.scalar(2**63 - 1, pa.uint64())))
        return Cast(_keep(column, ok).cast(pa.int64()), true(pc.is_valid(column)) & ~ok)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return Cast(column.cast(pa.int64()), np.zeros(len(column), bool))
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64())
        small = pc.less(pc.abs(numbers), 2.0**63)
        ok = true(pc.and_(small, pc.equal(numbers, pc.trunc(numbers))))
        missing = ~true(pc.is_valid(column)) | true(pc.is_nan(numbers))
        return Cast(_keep(numbers, ok).cast(pa.int64()), ~ok & ~missing)
    return _all_bad(column, pa.int64())


def _to_int8(column: pa.Array) -> Cast:
    whole = _to_int64(column)
    fits = pc.and_(pc.greater_equal(whole.values, -128), pc.less_equal(whole.values, 127))
    ok = true(fits)
    return Cast(_keep(whole.values, ok).cast(pa.int8()), whole.bad | (true(pc.is_valid(whole.values)) & ~ok))


def _to_float32(column: pa.Array) -> Cast:
    if _is_text(column):
        text = pc.utf8_trim_whitespace(column)
        ok = true(pc.match_substring_regex(text, _NUMBER))
        given = true(pc.not_equal(text, ""))
        digits = pc.replace_substring(_keep(text, ok), "+", "")
        return _finite(digits.cast(pa.float64()), given & ~ok)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return Cast(column.cast(pa.float32(), safe=False), np.zeros(len(column), bool))
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64())
        given = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
        return _finite(given, np.zeros(len(column), bool))
    return _all_bad(column, pa.float32())


def _finite(numbers: pa.Array, bad: np.ndarray) -> Cast:
    """A float too large for 32 bits is bad, not infinite."""
    ok = true(pc.less_equal(pc.abs(numbers), float(np.finfo(np.float32).max)))
    too_large = true(pc.is_valid(numbers)) & ~ok
    return Cast(_keep(numbers, ok).cast(pa.float32(), safe=False), bad | too_large)


def _to_timestamp(column: pa.Array, time_unit: str) -> Cast:
    target = pa.timestamp("us", tz="UTC")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        naive = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
        return Cast(naive.cast(pa.int64()).cast(target), np.zeros(len(column), bool))
    if _is_text(column):
        text = pc.utf8_trim_whitespace(column)
        given = true(pc.not_equal(text, ""))
        numeric = true(pc.match_substring_regex(text, _NUMBER))
        numbers = _seconds(_keep(text, numeric).cast(pa.float64()), _keep(text, numeric), time_unit)
        parsed = _parse_iso(_keep(text, given & ~numeric))
        values = pc.coalesce(numbers, parsed)
        return Cast(values.cast(target), given & ~true(pc.is_valid(values)))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = _seconds(column, None, time_unit)
        missing = ~true(pc.is_valid(column)) | true(pc.is_nan(column.cast(pa.float64(), safe=False)))
        return Cast(values.cast(target), ~missing & ~true(pc.is_valid(values)))
    return _all_bad(column, target)


def _seconds(numbers: pa.Array, text: pa.Array | None, time_unit: str) -> pa.Array:
    """Numbers in ``time_unit`` to microseconds, null outside the years 1 to 9999."""
    scale = MICROSECONDS[time_unit]
    floats = numbers.cast(pa.float64(), safe=False)
    low, high = _YEAR_1 / scale, _YEAR_10000 / scale
    ok = true(pc.and_(pc.greater_equal(floats, low), pc.less(floats, high)))
    whole = _to_int64(text if text is not None else numbers).values  # exact, where a float would round
    exact = pc.multiply(_keep(whole, ok), pa.scalar(scale, pa.int64()))
    rounded = pc.round(pc.multiply(_keep(floats, ok), float(scale))).cast(pa.int64(), safe=False)
    return pc.coalesce(exact, rounded)


def _parse_iso(text: pa.Array) -> pa.Array:
    """ISO 8601 to microseconds, null where it is none. pandas mixes up offsets when some texts have none,
    hence the two calls."""
    with_offset = true(pc.match_substring_regex(text, _OFFSET))
    parts = []
    for chosen in (with_offset, ~with_offset):
        part = _keep(text, chosen)
        if part.null_count == len(part):
            continue
        parsed = pd.to_datetime(part.to_pandas(), format="ISO8601", utc=True, errors="coerce")
        times = pa.Array.from_pandas(parsed, type=pa.timestamp("us", tz="UTC"), safe=False)
        parts.append(times.cast(pa.int64()))
    return pc.coalesce(*parts) if parts else pa.nulls(len(text), pa.int64())


def _to_list(column: pa.Array, field: Field) -> Cast:
    """Each value of a list as a scalar is; a list with a bad value is bad."""
    if _is_text(column):
        text = column.cast(pa.string())
        lists = pc.split_pattern(text, "|")
        lists = pc.if_else(pc.equal(text, ""), pa.scalar([], lists.type), lists)
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lists = column.cast(pa.list_(column.type.value_type))
    else:
        return _all_bad(column, field.arrow_type)
    values, bad = cast(lists.flatten(), Field(field.name, field.dtype))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    parents = np.repeat(np.arange(len(lists)), lengths)
    bad_rows = np.zeros(len(lists), bool)
    bad_rows[parents[bad]] = True
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    mask = pc.or_(pc.is_null(lists), pa.array(bad_rows))
    made = pa.ListArray.from_arrays(offsets, values, mask=mask) if len(lists) else pa.array([], pa.list_(values.type))
    return Cast(made.cast(field.arrow_type), bad_rows)
