from __future__ import annotations

import pytest

from serving.version_policy import All, Latest, Specific


def test_latest_takes_the_highest_versions() -> None:
    assert Latest().choose({1, 10, 9}) == {10}
    assert Latest(2).choose({1, 10, 9}) == {9, 10}
    assert Latest(2).choose({1}) == {1}
    assert Latest().choose(set()) == set()


def test_latest_takes_at_least_one() -> None:
    with pytest.raises(ValueError, match="num_versions must be at least 1, got 0"):
        Latest(0)


def test_all_takes_every_version() -> None:
    assert All().choose({1, 2}) == {1, 2}


def test_specific_takes_those_named_that_exist() -> None:
    assert Specific(frozenset({1, 3})).choose({1, 2}) == {1}
