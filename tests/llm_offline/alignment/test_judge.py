import math

import pytest

from llm_offline.alignment.judge import ByModel, ByTruth, Case, Remembered, hit_rate

CASES = [
    Case("a", ("late", "refund", "pay", "return"), "where is it", frozenset({"pay"})),
    Case("b", ("late", "refund", "pay", "return"), "send back", frozenset({"return"})),
    Case("c", ("late",), " ", frozenset({"late", "pay"})),
    Case("d", ("late",), "hello"),
]


def test_a_hit_is_a_true_intent_among_the_first_three():
    found = hit_rate(CASES, ByTruth())
    assert found == {"intent_hit_rate": pytest.approx(2 / 3), "judged": 3, "unknown": 1}
    assert hit_rate(CASES, ByTruth(), k=4)["intent_hit_rate"] == 1.0
    assert hit_rate(CASES, ByTruth(), k=1)["intent_hit_rate"] == pytest.approx(1 / 3)
    assert math.isnan(hit_rate(CASES[3:], ByTruth())["intent_hit_rate"])


class Says:
    def __init__(self, *answers):
        self.answers, self.prompts = answers, []

    def answer(self, prompts):
        self.prompts += prompts
        return list(self.answers[: len(prompts)])


def test_a_model_chooses_from_the_base():
    titles = {"late": "Where is my parcel?", "pay": "Why was I declined?", "return": "How do I return it?"}
    fenced = 'So: ```json\n{"intents": ["late", "return", "pay"]}\n```'
    model = Says('{"intents": ["pay", "nonsense"]}', fenced, "I can't")
    judge = ByModel(model, titles)
    assert judge.true_intents(CASES) == [{"pay"}, {"late", "return"}, None, None]  # c has no transcript
    assert "late: Where is my parcel?" in model.prompts[0].text and "where is it" in model.prompts[0].text


UNCLEAR = ["", "{", '{"intents": "late"}', '{"other": []}', '{"intents": []}', '{"intents": [3]}']


@pytest.mark.parametrize("answer", UNCLEAR)
def test_what_names_no_intent_cannot_be_told(answer):
    assert ByModel(Says(answer), {"late": "x"}).true_intents(CASES[:1]) == [None]


def test_what_a_judge_was_asked_once_it_is_not_asked_again(tmp_path, monkeypatch):
    titles, file = {"pay": "Why was I declined?"}, tmp_path / "judged.jsonl"
    model = Says('{"intents": ["pay"]}', "I can't")
    assert Remembered(ByModel(model, titles), file, "a").true_intents(CASES[:2]) == [{"pay"}, None]
    file.write_text(file.read_text() + '\n{"asked": "cut sh')  # a run that was killed
    again = Says('{"intents": ["pay"]}')
    assert Remembered(ByModel(again, titles), file, "a").true_intents(CASES[:2]) == [{"pay"}, None]
    assert not again.prompts
    assert Remembered(ByModel(again, titles), file, "b").true_intents(CASES[:1]) == [{"pay"}] and again.prompts
