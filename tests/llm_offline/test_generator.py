import numpy as np
import pytest
import torch

from llm_offline import shared_beginnings
from llm_offline.chat import Prompt
from llm_offline.config import GenerateConfig
from llm_offline.generator import Generator, generation_id

HEAD = "what would this person choose next of the following things: "
TEXTS = [HEAD + ending for ending in ("soap", "a comb and a brush", "shea butter", "soap", "x")]


@pytest.fixture
def tiny(tiny_llm):
    """The tiny model; its head, which the folder does not hold, is random but fixed."""

    def make(**changes) -> Generator:
        torch.manual_seed(0)
        return Generator(GenerateConfig(**{"model": str(tiny_llm), "max_new_tokens": 6, **changes}))

    return make


@pytest.fixture(scope="module")
def smollm2(model_cache):
    return Generator(GenerateConfig(model="smollm2", layers=2, max_new_tokens=3))


def prompts(texts, **changes):
    return [Prompt(text, **changes) for text in texts]


def test_answers_come_in_order_and_equal_prompts_are_answered_once(tiny, monkeypatch):
    model = tiny()
    seen = []
    write = model._write
    monkeypatch.setattr(model, "_write", lambda ids, *rest: seen.extend(ids) or write(ids, *rest))
    answers = model.answer(prompts(TEXTS))
    assert len(seen) == 4
    assert answers[0] == answers[3]
    assert model.answer(prompts(TEXTS[::-1])) == answers[::-1]
    assert model.answer([]) == []


def test_an_answer_does_not_depend_on_the_prompts_beside_it(tiny):
    model = tiny()
    assert [model.answer([prompt])[0] for prompt in prompts(TEXTS)] == model.answer(prompts(TEXTS))


def test_a_beginning_computed_once_gives_the_answers_of_one_computed_for_each(tiny, monkeypatch):
    model = tiny()
    facts = [f"{HEAD}{thing} for somebody who is {mood}: " for thing in ("soap", "a comb") for mood in ("sad", "glad")]
    asked = prompts([one + question for one in facts for question in ("who", "why this", "how")] + TEXTS)
    together = model.answer(asked)
    assert [model.answer([prompt])[0] for prompt in asked] == together
    monkeypatch.setattr(shared_beginnings, "_LEAST", 10_000)
    assert model.answer(asked) == together


def test_a_batch_is_no_larger_than_it_may_be_however_many_begin_alike(tiny):
    model = tiny(max_tokens=100, batch_tokens=400)
    drawn = prompts([TEXTS[0]]) * 30 + prompts(["soap", *TEXTS])
    ids = [model._tokenize(prompt) for prompt in drawn]
    batches = list(model._batches(ids))
    assert sorted(row for rows in batches for row in rows) == list(range(len(ids)))
    assert max(len(rows) for rows in batches) > 1
    for rows in batches:
        assert len(rows) * (max(len(ids[row]) for row in rows) + model.config.max_new_tokens) <= 400


def test_greedy_decoding_is_the_best_next_token_again_and_again(tiny):
    model = tiny(max_new_tokens=4)
    ids = model._tokenize(Prompt(TEXTS[1]))
    with torch.inference_mode():
        for _ in range(4):
            logits = model._model(input_ids=torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
    assert model.answer([Prompt(TEXTS[1])]) == [model._tokenizer.decode(ids[-4:]).strip()]


def test_a_careful_prompt_repeats_less(tiny):
    model = tiny(max_new_tokens=20)
    counts = []
    for careful in (False, True):
        prompt = Prompt(TEXTS[0], careful=careful)
        written = model._write([model._tokenize(prompt)], [prompt])[0].tolist()
        counts.append(len(np.unique(written)))
    assert counts[1] > counts[0]


def test_an_answer_begins_as_it_may_with_the_likelier_word(tiny):
    model = tiny()
    asked = prompts(TEXTS[:2], begins=("Yes", "No"))
    answers = model.answer([*asked, *prompts(TEXTS[:2])])
    for prompt, answer in zip(asked, answers, strict=False):
        with torch.inference_mode():
            logits = model._model(input_ids=torch.tensor([model._tokenize(prompt)])).logits[0, -1]
        yes, no = (float(logits[model._tokenizer(letter)["input_ids"][0]]) for letter in "YN")
        assert answer[0] == ("Y" if yes > no else "N")
    assert answers[2:] == model.answer(prompts(TEXTS[:2]))


def test_of_a_long_prompt_the_end_is_kept(tiny):
    model = tiny(max_tokens=5)
    assert model._tokenizer.decode(model._tokenize(Prompt("soap and butter"))).replace(" ", "") == "tter\n"


def test_a_model_with_a_chat_format_is_asked_in_it(smollm2):
    text = smollm2._tokenizer.decode(smollm2._tokenize(Prompt("Soap?", "Be brief.")))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSoap?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert len(smollm2.answer([Prompt("Soap?", "Be brief.")])) == 1


def test_the_id_names_what_an_answer_depends_on(smollm2):
    same = GenerateConfig(layers=2, max_new_tokens=3)
    assert smollm2.model_id == generation_id(same)
    others = [GenerateConfig(layers=2), GenerateConfig(max_new_tokens=3), GenerateConfig(dtype="bfloat16")]
    assert len({smollm2.model_id, *map(generation_id, others)}) == 4


def test_a_draw_depends_on_its_number_and_its_prompt_alone(tiny):
    model = tiny()
    drawn = prompts(["soap", "a comb"], temperature=1.0) + prompts(["soap", "a comb"], temperature=1.0, draw=1)
    together = model.answer(drawn)
    assert together == [model.answer([prompt])[0] for prompt in drawn]
    assert len(set(together)) == 4


def test_tokens_are_drawn_from_the_softmax_of_the_logits_over_the_temperature(tiny):
    model = tiny(max_new_tokens=1)
    ids = model._tokenize(Prompt("soap"))
    with torch.inference_mode():
        share = torch.softmax(model._model(input_ids=torch.tensor([ids])).logits[0, -1] / 2, 0).numpy()
    drawn = [Prompt("soap", temperature=2.0, draw=n) for n in range(2000)]
    found = np.bincount(model._write([ids] * 2000, drawn)[:, 0], minlength=len(share)) / 2000
    assert np.abs(found - share).max() < 4 * np.sqrt(0.25 / 2000)
    assert share.max() < 0.9  # or the test would tell nothing
