import pyarrow as pa
import pytest

from feature_store.datasets.chatbot.features import SCHEMA
from feature_store.session_schema import INTENTS, SessionFeature, SessionSchema


def test_the_simulator_s_sessions_have_89_features_of_all_dimensions():
    assert len(SCHEMA.features) == 89
    assert {each.dimension for each in SCHEMA.features} == {"profile", "behaviour", "context"}
    assert SessionSchema.from_json(SCHEMA.to_json()) == SCHEMA
    assert list(SCHEMA.groups) == ["pages", "clicks", "dialogues"]


def test_a_feature_s_column_follows_from_its_kind():
    schema = SessionSchema(
        (
            SessionFeature("gender", "Gender", kind="id", dictionary="gender"),
            SessionFeature("clicks", "Clicks", kind="ids", dictionary=INTENTS, length=3),
            SessionFeature("days", "Days"),
            SessionFeature("said", "Said", kind="text"),
        ),
        {"gender": {1: "Male"}},
    )
    types = {name: schema.arrow().field(name).type for name in ("gender", "clicks", "days", "said")}
    assert types["gender"] == pa.int64()
    assert types["clicks"].value_type == pa.string()
    assert (types["days"], types["said"]) == (pa.float32(), pa.string())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SessionFeature("shown", "x"), "a feature's name must be given, and not that of a session's own"),
        (lambda: SessionFeature("a", "A", kind="id"), "feature 'a': dictionary must be named for ids"),
        (lambda: SessionFeature("a", "A", dictionary="b"), "feature 'a': dictionary must be named for ids"),
        (lambda: SessionFeature("a", "A", kind="texts"), "feature 'a': length must be at least 1, received 0"),
        (lambda: SessionFeature("a", "A", group="b"), "feature 'a': group must be empty with kind 'number'"),
        (lambda: SessionFeature("a", "A", kind="text", unit="days"), "unit and log are of numbers"),
        (lambda: SessionSchema((SessionFeature("a", "A"),) * 2), "features must have a name each"),
        (lambda: SessionSchema((SessionFeature("a", "A", kind="id", dictionary="b"),)), "dictionary must be one of"),
        (lambda: SessionSchema.from_json({"features": [{"nme": "a"}]}), "must hold features and dictionaries"),
    ],
)
def test_a_schema_that_breaks_a_rule_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
