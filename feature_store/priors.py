"""What a group of users has in common: its usual attributes, what it buys, and in which order (ChoirRec section 4.3).

A `Prior` holds exact sums, whole numbers all of them, so that neither the order in which users arrive nor how their
sums are put together shows in what comes out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pyarrow as pa

from feature_store.schema import Field, Schema

KIND = "priors"
GROUPS, USERS = "groups.parquet", "users.parquet"
TOP_CATEGORIES, SEQUENCE = "top_categories", "sequence"
_SCALE = 149  # float32 times 2**149 is a whole number
_UNKNOWN = {"int64": -1, "float32": math.nan}  # online, as in requests; 0 may be true


@dataclass
class Prior:
    """Sums over some users.

    Attributes:
        members: users. counts: attribute -> how many users have each value (strings and whole numbers).
        sums: attribute -> [sum times 2**149, users] (float32).
        items: item -> [purchases, sum of their times in microseconds].
    """

    members: int = 0
    counts: dict[str, Counter[Any]] = field(default_factory=dict)
    sums: dict[str, list[int]] = field(default_factory=dict)
    items: dict[str, list[int]] = field(default_factory=dict)

    def add_user(self, attributes: Mapping[str, Any]) -> None:
        """One more user; None is a value that is not known."""
        self.members += 1
        for name, value in attributes.items():
            if value is None:
                continue
            if isinstance(value, float):
                total = self.sums.setdefault(name, [0, 0])
                total[0] += int(math.ldexp(value, _SCALE))
                total[1] += 1
            else:
                self.counts.setdefault(name, Counter())[value] += 1

    def add_purchases(self, item: str, purchases: int, times: int) -> None:
        """``times`` is the sum of the purchases' times."""
        total = self.items.setdefault(item, [0, 0])
        total[0] += purchases
        total[1] += times

    def merge(self, other: Prior, sign: int = 1) -> None:
        """Adds another's sums, or with ``sign`` -1 takes them away; nothing is left of what has come to 0."""
        self.members += sign * other.members
        for name, counter in other.counts.items():
            mine = self.counts.setdefault(name, Counter())
            for value, count in counter.items():
                mine[value] += sign * count
                if not mine[value]:
                    del mine[value]
        for theirs, ours in ((other.sums, self.sums), (other.items, self.items)):
            for name, (one, two) in theirs.items():
                total = ours.setdefault(name, [0, 0])
                total[0] += sign * one
                total[1] += sign * two
                if total == [0, 0]:
                    del ours[name]

    def copy(self) -> Prior:
        found = Prior()
        found.merge(self)
        return found

    def attribute(self, name: str) -> Any:
        """The mode, the smallest of several; of float32 the mean; None where no value is known."""
        if name in self.sums:
            total, users = self.sums[name]
            return float(Fraction(total, users << _SCALE))
        counter = self.counts.get(name)
        return min(counter, key=lambda value: (-counter[value], value)) if counter else None

    def categories(self, of_item: Mapping[str, Sequence[str]]) -> Counter[str]:
        """Purchases of each category; of items without one, of ""."""
        found: Counter[str] = Counter()
        for item, (purchases, _) in self.items.items():
            for category in of_item.get(item) or ("",):
                found[category] += purchases
        return found

    def top_categories(self, of_item: Mapping[str, Sequence[str]], k: int) -> list[str]:
        """The k most frequent, the most frequent first; of equally frequent ones the first by name."""
        found = self.categories(of_item)
        return sorted(found, key=lambda category: (-found[category], category))[:k]

    def sequence(self, of_item: Mapping[str, Sequence[str]], categories: Iterable[str], length: int) -> list[str]:
        """The most popular items of the categories, in the order of their mean purchase time."""
        wanted = set(categories)
        among = [item for item in self.items if wanted & set(of_item.get(item) or ("",))]
        popular = sorted(among, key=lambda item: (-self.items[item][0], item))[:length]
        return sorted(popular, key=lambda item: (Fraction(self.items[item][1], self.items[item][0]), item))

    def row(
        self, attributes: Sequence[str], of_item: Mapping[str, Sequence[str]], k: int, length: int
    ) -> dict[str, Any]:
        """The columns of `group_columns`, less the key."""
        top = self.top_categories(of_item, k)
        return {
            "members": self.members,
            **{name: self.attribute(name) for name in attributes},
            TOP_CATEGORIES: [category for category in top if category],
            SEQUENCE: self.sequence(of_item, top, length),
        }

    def consistency(self, of_item: Mapping[str, Sequence[str]], k: int) -> tuple[float | None, float | None]:
        """The mean over the attributes of the share of users who have the mode, of those whose value is known; and the
        share of purchases that is of the k most frequent categories. None where there are none."""
        shares = [max(counter.values()) / counter.total() for counter in self.counts.values() if counter]
        found = self.categories(of_item)
        top = sum(count for _, count in found.most_common(k))
        return (sum(shares) / len(shares) if shares else None, top / found.total() if found else None)


def group_columns(schema: Schema) -> tuple[Field, ...]:
    """What is told of a group, besides its key."""
    attributes = tuple(Field(f.name, f.dtype, default=_UNKNOWN.get(f.dtype)) for f in schema.user_attributes)
    lists = (Field(TOP_CATEGORIES, shape=(None,)), Field(SEQUENCE, shape=(None,), vocabulary="item"))
    return (Field("members", "int64"), *attributes, *lists)


def arrow(schema: Schema, key: str) -> pa.Schema:
    """Of ``groups.parquet`` (key "group") and ``users.parquet`` (key "user_id")."""
    return pa.schema([(key, pa.string()), *((f.name, f.arrow_type) for f in group_columns(schema))])
