from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from feature_store.casts import cast
from feature_store.schema import Field

NAN = float("nan")


def result(values, field, unit="s", kind=None):
    found = cast(pa.array(values, kind), field, unit)
    return found.values.to_pylist(), found.bad.tolist()


@pytest.mark.parametrize(
    "values, expected, bad",
    [
        (["1", " +7 ", "-3"], [1, 7, -3], [False] * 3),
        (["", None], [None, None], [False, False]),
        (["x", "1.5", "99999999999999999999"], [None] * 3, [True] * 3),
        ([2.0, NAN, None, 1.5, 1e300], [2, None, None, None, None], [False, False, False, True, True]),
    ],
)
def test_integers(values, expected, bad):
    assert result(values, Field("n", "int64")) == (expected, bad)


def test_unsigned_integers_beyond_int64_are_bad():
    assert result([1, 2**63], Field("n", "int64"), kind=pa.uint64()) == ([1, None], [False, True])


def test_floats():
    found = result(["1.5", "-.5e1", "", "abc", "1e99", "nan"], Field("x", "float32"))
    assert found == ([1.5, -5.0, None, None, None, None], [False, False, False, True, True, True])
    assert result([1, 2], Field("x", "float32")) == ([1.0, 2.0], [False, False])


def test_ids_may_be_integers_or_whole_floats_or_any_text():
    assert result([7, None], Field("id"))[0] == ["7", None]
    assert result([7.0, 7.5], Field("id")) == (["7", None], [False, True])
    assert result(["a\nb", " é\u2028|\t"], Field("id"))[0] == ["a\nb", " é\u2028|\t"]
    assert result([[1]], Field("id")) == ([None], [True])
    assert result([None, None], Field("id")) == ([None, None], [False, False])


NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2020-01-01T12:00:00", "2020-01-01 12:00:00Z", "2020-01-01T14:00:00+02:00", "2020-01-01 12:00"]
)
def test_iso_times_without_an_offset_are_utc(text):
    others = ["2020-01-01T00:00:00+05:00", "2020-01-01T00:00:00"]
    assert result([text, *others], Field("t", "timestamp"))[0][0] == NOON


@pytest.mark.parametrize(
    "seconds, unit", [(1577880000, "s"), (1577880000000, "ms"), (1577880000000000, "us")]
)
def test_numeric_times_are_in_the_unit(seconds, unit):
    for value in (seconds, float(seconds), str(seconds), f"{seconds}.0"):
        assert result([value], Field("t", "timestamp"), unit) == ([NOON], [False])


def test_large_microseconds_are_exact_as_text_and_fractions_are_kept():
    assert result(["1577880000000001"], Field("t", "timestamp"), "us")[0] == [NOON.replace(microsecond=1)]
    assert result(["1577880000.25"], Field("t", "timestamp"))[0] == [NOON.replace(microsecond=250000)]


def test_times_that_are_none_are_bad():
    values = ["yesterday", "2020-13-01", "1e30", "", None]
    found = result(values, Field("t", "timestamp"))
    assert found == ([None] * 5, [True, True, True, False, False])
    assert result([2**62], Field("t", "timestamp")) == ([None], [True])
    assert result([[1]], Field("t", "timestamp")) == ([None], [True])


def test_timestamps_and_dates_of_any_precision():
    assert result([NOON], Field("t", "timestamp"), kind=pa.timestamp("ns", tz="Asia/Tokyo"))[0] == [NOON]
    assert result([NOON.replace(tzinfo=None)], Field("t", "timestamp"), kind=pa.timestamp("ms"))[0] == [NOON]
    assert result([date(2020, 1, 1)], Field("t", "timestamp"))[0] == [NOON.replace(hour=0)]


def test_lists_of_text():
    tags = Field("tags", shape=(None,))
    assert result(["a|b", "", None], tags)[0] == [["a", "b"], [], None]
    assert result([["a"], [1 and "b"]], tags)[0] == [["a"], ["b"]]
    assert result([[1, 2]], tags)[0] == [["1", "2"]]
    assert result([3], tags) == ([None], [True])


def test_dictionary_columns_are_read_as_their_values():
    column = pa.array(["1", "x"]).dictionary_encode()
    assert cast(column, Field("n", "int64")).values.to_pylist() == [1, None]


def test_lists_are_cast_value_by_value():
    raw = pa.array([["1", "2"], ["x"], [], None])
    values, bad = cast(raw, Field("a", "float32", shape=(None,)))
    assert values.to_pylist() == [[1.0, 2.0], None, [], None]
    assert bad.tolist() == [False, True, False, False]
    whole, _ = cast(pa.array([[1.0, 2.0], [1.5]]), Field("a", "int64", shape=(None,)))
    assert whole.to_pylist() == [[1, 2], None]
    texts, _ = cast(pa.array(["3|4", ""]), Field("a", "int64", shape=(None,)))
    assert texts.to_pylist() == [[3, 4], []]
