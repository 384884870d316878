import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_offline.config import SourceConfig
from llm_offline.knowledge.texts import read_named
from llm_offline.knowledge.user_text import UserText

ITEMS = {
    "1": {"title": "Shea &amp; honey soap", "categories": ["Bath", "Soap"]},
    "2": {"title": "", "categories": ["Hair"]},
    "3": {"title": "Comb", "categories": ["Hair", "Bath", "Bath"]},
    "4": {"title": "Pen", "categories": None},
}
ASKED = (
    "Read what one person has chosen and say what they like, what they need and what they are likely to choose next."
)


def text(columns=(), **changes) -> UserText:
    return UserText(SourceConfig(**changes), columns)


def test_the_four_templates_by_hand():
    four = text(["age", "gender"], templates=("general", "age", "gender", "category"))
    assert (four.parts, four.columns) == (4, ["age", "gender"])
    user = {"age": 24, "gender": "F"}
    chosen = "Chosen, oldest first: Shea & honey soap; Comb."
    assert four.render(user, ["1", "2", "3"], ITEMS) == [
        f"{ASKED} {chosen} In short, this person likes",
        f"{ASKED} {chosen} Keep in mind what people of this age and stage of life want. Age in years: 24. "
        "In short, a person of this age likes",
        f"{ASKED} {chosen} Keep in mind how women's and men's choices differ. Gender: F. "
        "In short, a person of this gender likes",
        f"{ASKED} {chosen} Keep in mind the categories they come back to, the most frequent first: "
        "Bath, Hair, Soap. In short, a person with these interests likes",
    ]


def test_what_a_user_does_not_have_is_left_out():
    [told] = text(["age"], templates=("age",)).render({"age": None}, ["4"], ITEMS)
    assert told == f"{ASKED} Chosen, oldest first: Pen. In short, a person of this age likes"


def test_a_history_without_titles_has_no_text():
    assert text(templates=("general", "category")).render({}, ["2", "unknown"], ITEMS) == ["", ""]
    assert text().render({}, [], ITEMS) == [""]


@pytest.mark.parametrize(
    "limits, told",
    [
        ({"max_titles": 2}, "C; D"),
        ({"max_titles": 4}, "A; B; C; D"),
        ({"max_characters": 6}, "C; D"),  # a title and what sets it apart: 3 characters each
        ({"max_characters": 8}, "C; D"),
        ({"max_characters": 9}, "B; C; D"),
    ],
)
def test_the_newest_whole_titles_that_fit_are_told_oldest_first(limits, told):
    items = {name: {"title": name, "categories": []} for name in "ABCD"}
    assert text(kind="kar", **limits).render({}, list("ABCD"), items) == [told]


def test_of_a_newest_title_that_alone_is_longer_its_start_is_told():
    items = {"a": {"title": "A", "categories": []}, "b": {"title": "0123456789", "categories": []}}
    assert text(kind="kar", max_characters=4).render({}, ["a", "b"], items) == ["0123"]


@given(titles=st.lists(st.text("ab ", max_size=9), max_size=9), limit=st.integers(1, 30), most=st.integers(1, 9))
def test_titles_never_take_more_room_than_they_have(titles, limit, most):
    items = {str(n): {"title": title, "categories": []} for n, title in enumerate(titles)}
    template = UserText(SourceConfig(kind="kar", max_characters=limit, max_titles=most), [])
    [told] = template.render({}, list(items), items)
    assert len(told) <= limit
    assert len(told.split("; ")) <= most
    newest = [title.strip() for title in titles if title.strip()]
    assert bool(told) == bool(newest)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"templates": ("ages",)}, "source.templates must be one of general, age, gender, category, or a text with"),
        ({"templates": ("{titles} {brand}",)}, "source.templates: template: each field is a plain"),
        ({"templates": ("age",)}, "received 'age'"),  # users without an age
        ({"kind": "kar", "user_text": "{age}"}, "source.user_text must be a text with {titles}"),
    ],
)
def test_a_faulty_template_is_told(changes, told):
    with pytest.raises(ValueError) as error:
        text(["zip"], **changes)
    assert told in str(error.value)


def test_the_named_templates_are_those_of_the_paper():
    assert list(read_named("templates")) == ["general", "age", "gender", "category"]
