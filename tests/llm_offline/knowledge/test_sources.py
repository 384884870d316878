import pytest
import torch

from llm_offline.config import AnswerEncoderConfig, GenerateConfig, SourceConfig
from llm_offline.embedder import Embedder
from llm_offline.knowledge.answers import Answer
from llm_offline.knowledge.sources import Wording, Writer, answers, written_id

FILMS = Wording("films", "user")
FIRST, SECOND, THIRD = (f"They like {word} films about the sea." for word in ("old", "new", "long"))


class Model:
    """Plays actor and judge: replies by what a prompt asks for, in order, and notes every prompt."""

    def __init__(self, actor, judge=()):
        self.actor, self.judge, self.asked = list(actor), list(judge), []

    def __call__(self, prompts):
        self.asked += [prompt.text for prompt in prompts]
        return [(self.judge if "Yes or No" in prompt.text else self.actor).pop(0) for prompt in prompts]


def test_the_prompts_by_hand():
    asked = FILMS.ask("Jaws; Alien {x}")
    assert asked.system == "You describe tastes and films precisely, in two short sentences, without lists."
    assert asked.text.startswith("Analyse what one person prefers, from the films they have chosen, oldest first.")
    assert asked.text.endswith("\nChosen films: Jaws; Alien {x}")
    item = Wording("films", "item").ask("Jaws")
    assert item.text.endswith("Say in two sentences what is known about it.\nFacts: Jaws")
    assert FILMS.judge("Jaws", "A.").text.endswith("in one sentence.\nFacts: Jaws\nStatement: A.")
    assert FILMS.refine("Jaws", "A.", "B.").text.endswith("\nFacts: Jaws\nStatement: A.\nObjection: B.")


def test_kar_asks_once():
    model = Model([FIRST])
    assert answers(model, FILMS, ["Jaws"], 0) == [Answer(FIRST, "first")]
    assert len(model.asked) == 1


def test_r4ec_writes_anew_what_the_judge_objects_to():
    model = Model([FIRST, FIRST, SECOND, THIRD], ["Yes.", "No, too vague.", "No, too old."])
    found = answers(model, FILMS, ["Jaws", "Alien"], 2)
    assert found == [Answer(FIRST, "first", "yes"), Answer(THIRD, "first", "no", 2)]
    refined = [text for text in model.asked if "Objection" in text]
    assert refined == [
        FILMS.refine("Alien", FIRST, "too vague.").text,
        FILMS.refine("Alien", SECOND, "too old.").text,
    ]


def test_r4ec_stops_when_the_judge_agrees_and_keeps_what_cannot_be_bettered():
    model = Model([FIRST, SECOND], ["No, vague.", "Yes."])
    assert answers(model, FILMS, ["Jaws"], 5) == [Answer(SECOND, "first", "yes", 1)]
    model = Model([FIRST, "", "bad"], ["No, vague."])
    assert answers(model, FILMS, ["Jaws"], 1) == [Answer(FIRST, "first", "no", 0)]


def test_r4ec_begins_with_answers_that_are_there_and_asks_for_the_others():
    begun = {"Jaws": Answer(FIRST, "retried"), "Up": Answer("Up", "fallback")}
    model = Model([SECOND, THIRD], ["No, vague.", "Yes."])
    found = answers(model, FILMS, ["Up", "Jaws", "Alien"], 1, begun)
    assert found == [Answer("Up", "fallback"), Answer(THIRD, "first", "no", 1), Answer(SECOND, "first", "yes")]
    assert [text for text in model.asked if "Chosen films" in text] == [FILMS.ask("Alien").text]


def test_nobody_judges_a_fallback():
    model = Model(["", ""])
    assert answers(model, FILMS, ["Jaws"], 3) == [Answer("Jaws", "fallback", rejected="")]


def test_the_id_names_what_a_vector_depends_on(tiny_llm):
    def named(subject="user", **changes):
        given = {"kind": "kar", "generate": GenerateConfig(str(tiny_llm)), **changes}
        return written_id(SourceConfig(**given), subject)

    assert named() == named(templates=("age",))
    others = [named(noun="films"), named("item"), named(kind="r4ec"), named(kind="r4ec", iterations=2)]
    others += [named(encoder=AnswerEncoderConfig(layers=1))]
    assert len({named(), *others}) == 6


@pytest.mark.parametrize("kind", ["kar", "r4ec"])
def test_what_the_model_writes_becomes_vectors(tiny_llm, kind):
    torch.manual_seed(0)  # the tiny model's head
    encoder = AnswerEncoderConfig(layers=1)
    config = SourceConfig(kind=kind, generate=GenerateConfig(str(tiny_llm), max_new_tokens=8), encoder=encoder)
    found, vectors = Writer(config, "user").write(["Jaws", "Alien", "Jaws"])
    assert vectors.shape == (3, 384)
    assert found[0] == found[2]
    expected = Embedder(encoder).encode([answer.text for answer in found])
    assert abs(vectors - expected).max() < 1e-5
