import numpy as np
import pytest

from feature_store.datasets.chatbot.dictionaries import DICTIONARIES, TRACKING_EVENTS, code
from feature_store.datasets.chatbot.features import SCHEMA
from feature_store.datasets.chatbot.situations import Situations


@pytest.fixture(scope="module")
def situations():
    return Situations()


def columns(n: int, **values: object) -> dict[str, np.ndarray]:
    """Sessions in which nothing has happened, but for what is given."""
    found = {each.name: np.full(n, np.nan) for each in SCHEMA.features if each.kind == "number"}
    found |= {each.name: np.zeros(n, int) for each in SCHEMA.features if each.kind == "id"}
    found |= {"tracking_event": np.zeros(n, int), "refund_share": np.full(n, np.nan)}
    return found | {name: np.asarray(value) for name, value in values.items()}


def test_every_intent_has_words_help_and_what_follows_it(situations):
    assert situations.ids.tolist() == sorted(situations.ids)
    assert np.allclose(situations.follow.sum(1), 1)
    assert np.diag(situations.follow).max() == 0
    assert all(len(words) >= 2 for words in situations.says)
    assert len(set(situations.help)) == len(situations.ids)


def test_the_words_of_the_rules_are_the_dictionaries_words(situations):
    """A misspelt word would make a rule that never holds."""
    import re

    known = {word for ids in DICTIONARIES.values() for word in ids.values()} | set(TRACKING_EVENTS)
    for *_, when in situations._rules:
        assert set(re.findall(r"'([^']*)'", when)) <= known, when


def test_rules_hold_where_they_say(situations):
    paid, delayed = code("order_status", "PAID"), code("order_status", "DELAYED")
    home, orders = code("entry_point", "Home Page"), code("entry_point", "Order Page")
    found = situations.intensities(
        columns(
            3,
            order_status=[paid, paid, delayed], status_days=[1.0, 4.0, 9.0], late_days=[-3.0, -1.0, 3.0],
            entry_point=[home, orders, home], tracking_event=[0, 0, TRACKING_EVENTS.index("customs")],
        )  # fmt: skip
    )
    place = {name: number for number, name in enumerate(situations.ids)}
    assert found[:, place["cancel_order"]].tolist() == [0.0, 8.0, 0.0]  # 5 of the page, 3 of the days
    assert found[:, place["parcel_late"]].tolist() == [0.0, 0.0, 10.0]
    assert found[:, place["customs_held"]].tolist() == [0.0, 0.0, 14.0]


def test_a_missing_number_meets_no_rule(situations):
    """In SQL as in floats NaN would be above every number."""
    assert situations.intensities(columns(2)).max() == 0
