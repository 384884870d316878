import pytest

from feature_store.session_schema import BEHAVIOUR, INTENTS, PROFILE, SessionFeature, SessionSchema
from feature_store.verbalise import Verbaliser

SCHEMA = SessionSchema(
    (
        SessionFeature("entry", "Entry Point", kind="id", dictionary="entry"),
        SessionFeature("status", "Current Order Status", kind="id", dictionary="status"),
        SessionFeature("days", "In This Status For", unit="days"),
        SessionFeature("attempts", "Failed Attempts", quiet=(0.0,)),
        SessionFeature("gender", "User Gender", PROFILE, "id", "gender", quiet=(9,)),
        SessionFeature("clicks", "Clicked Intents", BEHAVIOUR, "ids", INTENTS, group="clicks", length=9),
        SessionFeature("hours", "Hours", BEHAVIOUR, "numbers", unit="hours ago", group="clicks", length=9),
        SessionFeature("amounts", "Last Amounts", BEHAVIOUR, "numbers", length=9),
        SessionFeature("said", "Said", BEHAVIOUR, "text"),
        SessionFeature("kinds", "Kinds", BEHAVIOUR, "texts", length=2, told=False),
    ),
    {"entry": {3: "Shipping Page"}, "status": {8: "TO_RECEIVE"}, "gender": {2: "Female", 9: "Not given"}},
)
TITLES = {"2184": "When will I receive my order?", "7": "Where is it?"}
NOTHING = {each.name: [] if each.is_list else None for each in SCHEMA.features}


def test_a_session_is_told_as_in_table_1():
    row = {**NOTHING, "entry": 3, "status": 8, "days": 7.0, "attempts": 0.0, "gender": 2, "said": " where\n is it ",
           "clicks": ["gone", "2184", "7"], "hours": [30.0, 2.5, 1.0], "amounts": [3.0, 12.5],
           "kinds": ["x"]}  # fmt: skip
    assert Verbaliser(SCHEMA, TITLES, most=2).render(row) == (
        "User Profile: User Gender: Female\n"
        "Behaviour: Clicked Intents: ('When will I receive my order?' (2.5 hours ago), 'Where is it?' (1 hours ago)), "
        "Last Amounts: (3, 12.5), Said: where is it\n"
        "Context: Entry Point: Shipping Page, Current Order Status: TO_RECEIVE, In This Status For: 7 days"
    )


def test_an_intent_that_left_the_base_goes_by_its_id():
    row = {**NOTHING, "clicks": ["gone"], "hours": [None]}
    assert Verbaliser(SCHEMA, TITLES).render(row) == "Behaviour: Clicked Intents: ('gone')"


def test_what_is_missing_or_goes_without_saying_is_not_told():
    assert Verbaliser(SCHEMA, TITLES).render(NOTHING) == ""
    assert Verbaliser(SCHEMA, TITLES).render({**NOTHING, "gender": 9, "attempts": 0.0, "entry": 77, "said": ""}) == ""


def test_only_the_features_asked_for_are_told_in_the_schema_s_order():
    told = Verbaliser(SCHEMA, TITLES, ["kinds", "entry"])
    assert told.columns == ("entry", "kinds")
    assert told.render({"entry": 3, "kinds": ["a", "b"]}) == (
        "Behaviour: Kinds: ('a', 'b')\nContext: Entry Point: Shipping Page"
    )
    with pytest.raises(ValueError, match="a feature must be one of entry, .* received 'color'"):
        Verbaliser(SCHEMA, TITLES, ["color"])
