import pytest

from llm_offline.chat import Prompt
from llm_offline.knowledge.answers import Answer, clean, judged, verdict, well_formed, written

GOOD = "They like old films about the sea."


class Scripted:
    """Answers each prompt with the next of its own replies, and notes what it was asked."""

    def __init__(self, **replies):
        self.replies, self.asked = {text: list(given) for text, given in replies.items()}, []

    def __call__(self, prompts):
        self.asked += prompts
        return [self.replies[prompt.text].pop(0) for prompt in prompts]


def test_an_answer_is_cut_after_its_last_whole_sentence():
    assert clean(" They like\n films. They wou") == "They like films."
    assert clean("Films of the 1.5 kind and") == "Films of the 1.5 kind and"
    assert clean("Really? Yes! No") == "Really? Yes!"


@pytest.mark.parametrize(
    "text, fine", [(GOOD, True), ("", False), ("They like films.", False), ("the film " * 9, False)]
)
def test_what_is_well_formed(text, fine):
    assert well_formed(text) == fine


def test_a_malformed_answer_is_asked_for_once_more_with_care_and_then_replaced():
    ask = Scripted(a=[GOOD], b=["no no no no no no no", GOOD + " Also"], c=["", "Films."])
    found = written(ask, [Prompt("a"), Prompt("b"), Prompt("c")], ["fa", "fb", "fc"])
    assert found == [Answer(GOOD, "first"), Answer(GOOD, "retried"), Answer("fc", "fallback", rejected="Films.")]
    assert [(prompt.text, prompt.careful) for prompt in ask.asked] == [
        ("a", False), ("b", False), ("c", False), ("b", True), ("c", True),
    ]  # fmt: skip


def test_a_verdict_is_the_first_word():
    assert [verdict(text) for text in ("Yes.", "**No**, it is", "no", "Nothing", "", "Maybe yes")] == [
        "yes", "no", "no", "unclear", "unclear", "unclear",
    ]  # fmt: skip


def test_an_unclear_judge_is_asked_once_more():
    ask = Scripted(a=["Yes, it is."], b=["Well", "No: too vague. And"], c=["Hm", "Hm"])
    found = judged(ask, [Prompt("a"), Prompt("b"), Prompt("c")])
    assert found == [("yes", "it is."), ("no", "too vague."), ("unclear", "Hm")]
