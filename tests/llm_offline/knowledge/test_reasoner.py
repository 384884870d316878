import numpy as np
import pytest
import torch
from torch.func import functional_call

from llm_offline.config import LlmConfig
from llm_offline.knowledge.lora import Pass
from llm_offline.knowledge.reasoner import SAMPLE, Question, Reasoner
from llm_offline.knowledge.titles import Titles
from llm_offline.language_model import load


@pytest.fixture(params=["tokens", "titles"])
def either(request, reasoner):
    """Makes reasoners whose text is of either form."""
    return lambda **changes: reasoner(text=request.param, **changes)


def leaves(reasoner):
    return {name: value.detach().clone().requires_grad_() for name, value in reasoner.trainable().items()}


def told(reasoner, question, learns=None, weights=None):
    """The knowledge, the gradient of the prompts, those of the weights by name; the upstream gradient is random."""
    weights = leaves(reasoner) if weights is None else weights
    rows, m = question.mask.shape
    upstream = np.random.default_rng(2).normal(size=(4, m, 4))[:rows]
    learns = np.ones(rows, bool) if learns is None else np.array(learns, bool)
    knowledge, prompts = np.zeros((rows, m, 4)), np.zeros_like(question.prompts)
    sums = {name: torch.zeros_like(value) for name, value in weights.items()}
    for answer in reasoner.answer(question, weights):
        knowledge[answer.rows] = answer.knowledge.detach().numpy()
        prompts[answer.rows], found = reasoner.gradients(answer, upstream, learns, list(weights.values()))
        for name, value in zip(sums, found, strict=True):
            sums[name] += value
    return knowledge, prompts, sums


def test_only_adapters_on_query_and_value_and_the_decoupling_attention_are_trained(reasoner):
    shapes = {name: tuple(value.shape) for name, value in reasoner().trainable().items()}
    expected = {f"decoupling.{part}.weight": (4, 12) for part in ("query", "key", "value")}
    expected |= {f"decoupling.{norm}.{part}": (12,) for norm in ("norm", "prompt_norm") for part in ("weight", "bias")}
    expected["decoupling.value.bias"] = (4,)
    for layer in (0, 1):
        for part, width in (("q_proj", 12), ("v_proj", 6)):
            name = f"model.layers.{layer}.self_attn.{part}.lora_"
            expected |= {f"{name}A.default.weight": (2, 12), f"{name}B.default.weight": (width, 2)}
    assert shapes == expected


def test_it_begins_with_values_whose_mean_is_0_over_texts_of_the_items_titles(either):
    made = either(dropout=0.0)
    for name, value in made.trainable().items():
        if "lora_B" in name:
            torch.nn.init.zeros_(value)  # as LoRA begins
    states = made._states(SAMPLE)
    values = made.decoupling.value(made.decoupling.norm(states))
    assert len(states) >= SAMPLE and float(made.decoupling.value.bias.detach().abs().max()) > 1e-3
    torch.testing.assert_close(values.mean(0), torch.zeros_like(values[0]), rtol=0, atol=1e-12)


def test_gradients_agree_with_finite_differences(either):
    made = either(dropout=0.3)
    weights = leaves(made)
    random = torch.Generator().manual_seed(0)
    prompts = torch.randn(2, 3, 12, dtype=torch.float64, generator=random, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    tokens, text = torch.tensor([[1, 2, 3], [5, 0, 0]]), torch.tensor([[True, True, True], [True, False, False]])

    def knowledge(prompts, *values):
        made._adapters.current = Pass(seed=11)
        return functional_call(made, dict(zip(weights, values, strict=True)), (prompts, mask, tokens, text))

    rest = [value.detach() for value in weights.values()]
    assert torch.autograd.gradcheck(knowledge, (prompts, *rest), atol=1e-7, rtol=1e-5)
    assert torch.autograd.gradcheck(knowledge, (prompts, *weights.values()), atol=1e-7, rtol=1e-5, fast_mode=True)


def test_padding_neither_gets_knowledge_nor_has_a_part_in_it(either, question):
    made, asked = either(dropout=0.0), question()
    knowledge, gradient, _ = told(made, asked)
    assert (knowledge[~asked.mask] == 0).all() and (gradient[~asked.mask] == 0).all()
    assert (np.abs(knowledge[asked.mask]) > 0).any(-1).all()
    other = np.where(asked.mask[..., None], asked.prompts, 100.0)
    np.testing.assert_array_equal(told(made, Question(other, asked.mask, asked.history, 7))[0], knowledge)


@pytest.mark.parametrize("batch_tokens", [12, 64])
def test_a_row_s_knowledge_and_gradient_do_not_depend_on_the_rows_beside_it(either, question, batch_tokens):
    made = either(dropout=0.0, batch_tokens=batch_tokens)
    knowledge, gradient, _ = told(made, question())
    for row in range(4):
        alone = next(made.answer(question(slice(row, row + 1)), leaves(made)))
        np.testing.assert_allclose(alone.knowledge[0].detach().numpy(), knowledge[row], rtol=0, atol=1e-12)
    whole = told(either(dropout=0.0), question())
    np.testing.assert_allclose(gradient, whole[1], rtol=0, atol=1e-12)


def test_the_text_is_the_titles_newest_last_and_changes_the_knowledge(either, question):
    made = either(dropout=0.0)
    asked = question()
    knowledge = told(made, asked)[0]
    swapped = Question(asked.prompts, asked.mask, asked.history[:, ::-1], 7)
    assert (np.abs(told(made, swapped)[0] - knowledge)[[0, 1]].max((1, 2)) > 1e-6).all()


def test_a_row_that_does_not_learn_gives_lora_a_gradient_of_zero_bits_and_changes_nothing_else(either, question):
    made = either()
    knowledge, prompts, every = told(made, question())
    same, beside, some = told(made, question(), [True, False, True, False])
    np.testing.assert_array_equal(same, knowledge)
    np.testing.assert_array_equal(beside, prompts)
    none = told(made, question(), [False] * 4)
    np.testing.assert_array_equal(none[1], prompts)
    for name in every:
        if "decoupling" in name:
            assert torch.equal(some[name], every[name]) and torch.equal(none[2][name], every[name])
        else:
            assert not torch.equal(some[name], every[name])
            assert none[2][name].numpy().tobytes() == bytes(8 * none[2][name].numel())


def test_the_gradient_of_the_rows_that_learn_is_that_of_a_batch_of_them_alone(either, question):
    made = either(dropout=0.0)
    _, _, some = told(made, question(), [True, True, False, False])
    _, _, alone = told(made, question(slice(0, 2)))
    for name, value in some.items():
        if "lora" in name:
            torch.testing.assert_close(value, alone[name], rtol=0, atol=1e-12)


def test_dropout_is_the_same_whenever_a_question_is_asked_and_another_for_another_seed(either, question):
    made = either(dropout=0.5)
    first, again, other = (told(made, question(seed=seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert all(torch.equal(first[2][name], again[2][name]) for name in first[2])
    assert np.abs(first[0] - other[0]).max() > 1e-6


def test_bfloat16_keeps_its_trained_weights_and_its_wire_in_float32(reasoner, question):
    made = reasoner(dtype="bfloat16", dropout=0.0)
    asked = question()
    asked = Question(asked.prompts.astype(np.float32), asked.mask, asked.history, 7)
    assert {value.dtype for value in made.trainable().values()} == {torch.float32}
    assert {p.dtype for p in made.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    weights = leaves(reasoner())
    exact = next(reasoner(dropout=0.0).answer(question(), weights))
    answer = next(made.answer(asked, {name: value.float() for name, value in weights.items()}))
    assert answer.knowledge.dtype == torch.float32
    assert (answer.knowledge - exact.knowledge).abs().max() < 0.1 * exact.knowledge.abs().max()


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"mask": np.zeros((4, 3), bool)}, "mask: row 0 has no prompt"),
        ({"history": np.full((4, 1), 6, np.int32)}, "must be at least 0 and below 6, received 6"),
    ],
)
def test_a_faulty_question_is_told(reasoner, question, changes, told):
    with pytest.raises(ValueError, match=told):
        list(reasoner().answer(Question(**{**vars(question()), **changes}), {}))


@pytest.mark.parametrize("text, limit", [("tokens", "max_tokens"), ("titles", "max_titles")])
def test_a_text_longer_than_the_model_is_refused(reasoner, text, limit):
    with pytest.raises(ValueError, match=f"llm.{limit} must be at most 64"):
        reasoner(**{"text": text, "batch_tokens": 65, limit: 65})


def test_a_sentence_encoder_reasons_too():
    config = LlmConfig(model="minilm", layers=2, d=8, max_tokens=16)
    language_model = load(config)
    titles = Titles(["Shea butter soap", "Comb"], language_model.tokenizer, config.max_tokens)
    assert titles.texts(np.array([[0, 2]])) == [[101, 22863, 102]]
    made = Reasoner(language_model, titles, config)
    prompts = np.random.default_rng(0).normal(size=(2, 2, 384)).astype(np.float32)
    asked = Question(prompts, np.array([[1, 1], [1, 0]], bool), np.array([[1, 2], [0, 2]], np.int32), 3)
    answer = next(made.answer(asked, leaves(made)))
    gradient, others = made.gradients(answer, np.ones((2, 2, 8), np.float32), np.ones(2, bool), [])
    assert answer.knowledge.shape == (2, 2, 8) and np.isfinite(gradient).all() and others == []
    assert {name.rpartition(".lora")[0].rpartition(".")[2] for name in made.trainable()} == {"", "query", "value"}
