import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_offline.knowledge.answers import Answer
from llm_offline.profile_config import ProfileConfig
from llm_offline.profiles import answers, parsed, prompts, sentence, verbalised

DAY = 86_400_000_000
END = 100 * DAY
GOOD = "Core identity: A young father.\nKey interests: Toys and prams.\nConsumption philosophy: Buys what lasts."


def told(purchases=(), searches=(), attributes=None, **config):
    return verbalised(attributes or {}, purchases, searches, END, ProfileConfig(**config))


def test_attributes_purchases_by_window_and_searches_are_told():
    purchases = [
        (END - DAY, ["Baby", "diapers"]),
        (END - 2 * DAY, ["Baby", "bottles"]),
        (END - 7 * DAY, ["Toys"]),
        (END - 8 * DAY, ["Garden"]),
        (END - 31 * DAY, ["Books"]),
    ]
    searches = [(END - 3 * DAY, "pram"), (END - 2 * DAY, "cot"), (END - DAY, "pram")]
    assert told(purchases, searches, {"home_city": "Rome", "age": None, "sex": "male"}) == (
        "Home city: Rome.\nSex: male.\nPurchases of the last 7 days: Baby (2), Toys (1), bottles (1), diapers (1).\n"
        "Purchases of the last 30 days: Garden (1).\nEarlier purchases: Books (1).\nRecent searches: pram; cot."
    )


def test_nothing_from_the_end_on_is_told():
    assert told([(END, ["Late"]), (END + 1, ["Later"])], [(END, "late")]) == ""


def test_what_is_older_than_the_long_window_is_left_out():
    purchases = [(END - 40 * DAY, ["Old"]), (END - 61 * DAY, ["Ancient"])]
    assert told(purchases, long_days=60) == "Earlier purchases: Old (1)."


def test_the_most_frequent_categories_and_the_newest_searches_are_kept():
    purchases = [(END - 1, [name]) for name in ("a", "b", "b", "c", "c", "c")]
    searches = [(END - n, f"q{n}") for n in range(1, 5)]
    text = verbalised({}, purchases, searches, END, ProfileConfig(categories=2, searches=3))
    assert text == "Purchases of the last 7 days: c (3), b (2).\nRecent searches: q1; q2; q3."


@given(
    st.lists(st.tuples(st.integers(0, 120), st.lists(st.sampled_from("abc"), max_size=2)), max_size=12),
    st.lists(st.tuples(st.integers(0, 120), st.sampled_from(["x", "y", "z"])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_does_not_show(purchases, searches, random):
    bought = [(END - days * DAY, names) for days, names in purchases]
    sought = [(END - days * DAY, query) for days, query in searches]
    text = told(bought, sought)
    random.shuffle(bought)
    random.shuffle(sought)
    assert told(bought, sought) == text


@pytest.mark.parametrize(
    "text, read",
    [
        (GOOD, GOOD),
        ("Sure!\n**core identity**: A young  father.\n- Key interests: Toys and prams.\nConsumption Philosophy: "
         "Buys what lasts.\nMore", GOOD),
        ("Core identity: A young father.\nKey interests: Toys and prams.", ""),
        (GOOD.replace("Toys and prams.", "Toys"), ""),
        (GOOD.replace("Toys and prams.", "toys toys toys toys toys toys toys toys toys"), ""),
        ("", ""),
    ],
)  # fmt: skip
def test_an_answer_has_three_parts_or_is_malformed(text, read):
    assert parsed(text) == read


def test_a_malformed_profile_is_asked_for_again_and_then_what_is_known_stands_in():
    replies = {"fine": [GOOD], "late": ["no", GOOD], "never": ["no", "still no"]}
    asked = []

    def ask(prompts):
        asked.extend(prompts)
        return [replies[next(name for name in replies if name in prompt.text)].pop(0) for prompt in prompts]

    assert answers(ask, ["fine", "late", "never"], ProfileConfig(ask="together")) == [
        Answer(GOOD, "first"),
        Answer(GOOD, "retried"),
        Answer("never", "fallback", rejected="still no"),
    ]
    assert [prompt.careful for prompt in asked] == [False, False, False, True, True]


def test_asked_apart_the_three_sentences_are_joined_and_the_worst_outcome_counts():
    known = {"ann": ["A young father of two.  And", "He likes toys and prams.", "He buys few good things."],
             "bob": ["He is a young man.", "Hm", "He spends next to nothing."], "cy": ["no"] * 3}  # fmt: skip

    def ask(prompts):
        told = []
        for prompt in prompts:
            user = next(name for name in known if f": {name}\n" in prompt.text)
            part = next(n for n, word in enumerate(("Who", "What", "How")) if f"\n{word}" in prompt.text)
            told.append("He likes music and games." if prompt.careful and user == "bob" else known[user][part])
        return told

    found = answers(ask, ["ann", "bob", "cy"], ProfileConfig())
    assert found[0] == Answer(
        "Core identity: A young father of two.\nKey interests: He likes toys and prams.\n"
        "Consumption philosophy: He buys few good things.", "first"
    )  # fmt: skip
    assert found[1].outcome == "retried" and "Key interests: He likes music and games.\n" in found[1].text
    assert found[2] == Answer("cy", "fallback", rejected="no")


def test_a_sentence_is_the_first_whole_one_of_a_usable_answer():
    assert sentence(" A man of  30 who likes tea. He also") == "A man of 30 who likes tea."
    assert sentence("A man who likes tea and never stops to") == ""
    assert sentence("tea tea tea tea tea tea tea.") == ""


@pytest.mark.parametrize("ask", ["together", "apart"])
def test_prompts_differ_in_the_facts_alone(ask):
    rome, oslo = (prompts(facts, ProfileConfig(ask=ask)) for facts in ("City: Rome.", "City: Oslo."))
    for one, two in zip(rome, oslo, strict=True):
        assert one.system == two.system
        assert one.text.replace("Rome", "Oslo") == two.text


def test_asked_apart_a_profile_has_no_more_tokens():
    config = ProfileConfig()
    assert 3 * config.writer.max_new_tokens == config.generate.max_new_tokens
    assert ProfileConfig(ask="together").writer == config.generate


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mode": "guess"}, "mode must be one of 'template', 'generate', received 'guess'"),
        ({"medium_days": 7.0}, "medium_days must be above 7"),
        ({"long_days": 20.0}, "long_days must be 0 or above medium_days"),
        ({"end": "soon"}, r"end must be a date or time such as 2025-06-15 \(ISO 8601\), received 'soon'"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ProfileConfig(**settings)
