from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.priors import Prior

OF_ITEM = {"i1": ("A",), "i2": ("A", "B"), "i3": ("B",), "i4": (), "i5": ("C",)}


def prior(users, purchases=()):
    found = Prior()
    for attributes in users:
        found.add_user(attributes)
    for item, time in purchases:
        found.add_purchases(item, 1, time)
    return found


def test_the_mode_is_the_most_frequent_and_of_ties_the_smallest():
    found = prior([{"city": "Oslo", "age": 3}, {"city": "Rome", "age": 9}, {"city": "Rome", "age": 3}])
    found.merge(prior([{"city": "Oslo"}]))
    assert (found.attribute("city"), found.attribute("age"), found.attribute("income")) == ("Oslo", 3, None)
    assert found.members == 4


def test_the_mean_is_exact_and_of_known_values():
    found = prior([{"income": 0.1}, {"income": None}, {"income": 0.2}])
    assert found.attribute("income") == float((Fraction(0.1) + Fraction(0.2)) / 2)


def test_a_sequence_is_the_popular_items_of_the_frequent_categories_by_mean_time():
    bought = [("i1", 10), ("i1", 30), ("i2", 5), ("i3", 50), ("i3", 60), ("i3", 1), ("i5", 2), ("i4", 3)]
    found = prior([], bought)
    assert found.categories(OF_ITEM) == {"A": 3, "B": 4, "C": 1, "": 1}
    assert found.top_categories(OF_ITEM, 2) == ["B", "A"]
    assert found.sequence(OF_ITEM, ["B", "A"], 3) == ["i2", "i1", "i3"]  # mean times 5, 20, 37
    assert found.sequence(OF_ITEM, ["B", "A"], 2) == ["i1", "i3"]  # i2 was bought once
    assert found.row([], OF_ITEM, 4, 9)["top_categories"] == ["B", "A", "C"]  # "" is no category
    assert found.row([], OF_ITEM, 4, 9)["sequence"] == ["i5", "i4", "i2", "i1", "i3"]


def test_consistency_is_the_share_of_the_mode_and_of_the_first_categories():
    found = prior([{"city": "a"}, {"city": "a"}, {"city": "b"}, {"city": None}], [("i1", 1), ("i1", 1), ("i5", 1)])
    assert found.consistency(OF_ITEM, 1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert Prior().consistency(OF_ITEM, 1) == (None, None)


USERS = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {
                "city": st.sampled_from([None, "a", "b", "c"]),
                "age": st.sampled_from([None, 1, 2]),
                "income": st.none() | st.floats(-1e6, 1e6, width=32),
            }
        ),
        st.lists(st.tuples(st.sampled_from(sorted(OF_ITEM)), st.integers(0, 10**15)), max_size=5),
        st.integers(0, 3),
    ),
    max_size=12,
)


def brute_force(users, k, length):
    """The row of users, straight from its definition."""
    known = {name: [u[name] for u, _, _ in users if u[name] is not None] for name in ("city", "age", "income")}
    row = {"members": len(users)}
    for name in ("city", "age"):
        counts = Counter(known[name])
        row[name] = min(counts, key=lambda value: (-counts[value], value)) if counts else None
    incomes = [Fraction(value) for value in known["income"]]
    row["income"] = float(sum(incomes) / len(incomes)) if incomes else None
    bought = [purchase for _, purchases, _ in users for purchase in purchases]
    categories = Counter(name for item, _ in bought for name in (OF_ITEM[item] or ("",)))
    top = sorted(categories, key=lambda name: (-categories[name], name))[:k]
    among = {item: [t for i, t in bought if i == item] for item, _ in bought if set(OF_ITEM[item] or ("",)) & set(top)}
    popular = sorted(among, key=lambda item: (-len(among[item]), item))[:length]
    row["top_categories"] = [name for name in top if name]
    row["sequence"] = sorted(popular, key=lambda item: (Fraction(sum(among[item]), len(among[item])), item))
    return row


@given(USERS, st.integers(1, 3), st.integers(1, 4), st.randoms(use_true_random=False))
def test_sums_put_together_in_any_order_give_what_the_definition_says(users, k, length, random):
    shuffled = list(users)
    random.shuffle(shuffled)
    parts = {}
    for user, purchases, part in shuffled:  # each part is summed up by itself, then the parts are merged
        parts.setdefault(part, []).append((user, purchases))
    merged = Prior()
    for part in parts.values():
        merged.merge(prior([u for u, _ in part], [p for _, ps in part for p in ps]))
    names = ["city", "age", "income"]
    assert merged.row(names, OF_ITEM, k, length) == brute_force(users, k, length)


@given(USERS.filter(bool))
def test_a_user_taken_away_was_never_there(users):
    whole = prior([u for u, _, _ in users], [p for _, ps, _ in users for p in ps])
    rest = prior([u for u, _, _ in users[1:]], [p for _, ps, _ in users[1:] for p in ps])
    first = prior([users[0][0]], users[0][1])
    left = whole.copy()
    left.merge(first, -1)
    names = ["city", "age", "income"]
    assert left.row(names, OF_ITEM, 3, 5) == rest.row(names, OF_ITEM, 3, 5)
    assert whole.members == len(users)  # the copy is one


def test_the_smallest_and_largest_float32_are_summed_exactly():
    tiny, huge = (float(np.float32(value)) for value in (1.4e-45, 3.4e38))
    assert prior([{"income": tiny}, {"income": huge}, {"income": -huge}]).attribute("income") == tiny / 3
