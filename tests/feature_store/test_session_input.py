import json

import chat_run
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store import session_input

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_given_is_kept_and_the_rest_is_not_known():
    found = session_input.row({"region": 1, "days": 3, "last_search": "x", "pages": None}, chat_run.SCHEMA)
    assert found == {"region": 1, "days": 3.0, "entry_point": None, "last_search": "x", "pages": None,
                     "minutes": None, "clicked_intents": None}  # fmt: skip


def test_of_a_list_the_newest_are_kept():
    given = {"pages": list("abcd"), "minutes": [9, 5, 2, 1]}
    found = session_input.row(given, chat_run.SCHEMA)
    assert (found["pages"], found["minutes"]) == (["b", "c", "d"], [5.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "session must be an object of features, received 'list'"),
        ({"colour": 1}, "session must hold features of the run's schema alone, received 'colour'"),
        ({"region": 3}, r"session.region must be an id of region \(1 to 2\), received 3"),
        ({"region": True}, "session.region must be an id"),
        ({"days": float("nan")}, "session.days must be a number"),
        ({"days": 10**400}, "session.days must be a number"),
        ({"days": "3"}, "session.days must be a number, received '3'"),
        ({"last_search": "x" * 2001}, "session.last_search must be text of at most 2,000 characters"),
        ({"last_search": "\ud800"}, "session.last_search must be text"),
        ({"pages": "Cart"}, "session.pages must be a list, the oldest first"),
        ({"clicked_intents": [None]}, "session.clicked_intents must be an intent's id"),
        ({"pages": ["Cart"]}, "session.pages, minutes must be as long as each other, being of the group 'pages'"),
    ],
)
def test_what_breaks_a_rule_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        session_input.row(given, chat_run.SCHEMA)


@given(st.dictionaries(st.sampled_from([each.name for each in chat_run.SCHEMA.features]), VALUES))
def test_anything_else_is_refused_or_can_be_told_and_sent(given):
    try:
        found = session_input.row(given, chat_run.SCHEMA)
    except ValueError:
        return
    assert json.loads(json.dumps(found)) == found
    assert len({len(found["pages"] or ()), len(found["minutes"] or ())}) == 1
