import numpy as np
import pytest
import torch

from llm_offline import adapter
from llm_offline.alignment.policy import Text
from llm_offline.alignment.reasoner import Reasoner, session_prompt
from llm_offline.chat import prompt_ids


def test_log_probs_are_those_of_the_answer_s_tokens_after_the_prompt(policy, texts):
    made = policy()
    read = made.read(texts)
    for n, text in enumerate(texts):
        states = made._body(input_ids=torch.tensor([[*text.prompt, *text.answer]])).last_hidden_state
        logits = torch.log_softmax(made._head(states)[0], dim=1)
        places = range(len(text.prompt), len(text))
        expected = sum(logits[place - 1, token] for place, token in zip(places, text.answer, strict=True))
        assert read.log_probs[n].item() == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_state_is_the_reasoner_s_vector_whatever_the_answer_says(policy, settings, pooling):
    made = policy("float32", pooling)
    for name, value in made.weights().items():
        torch.nn.init.zeros_(value) if "lora_B" in name else None  # the model as it was published
    ids = tuple(prompt_ids(made.tokenizer, session_prompt("card failed")))
    read = made.read([Text(0, ids, (7, 8, 9)), Text(1, ids, (6,))])
    expected, _ = Reasoner(settings(pooling=pooling, normalize=False)).of_sessions(["card failed"])
    for state in read.states.detach():
        np.testing.assert_allclose(state, expected[0], atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_what_is_tuned_is_what_the_merged_reasoner_has_in_service(policy, settings, tmp_path, dtype, tolerance):
    made = policy(dtype)
    ids = tuple(prompt_ids(made.tokenizer, session_prompt("card failed")))
    tuned = made.read([Text(0, ids, (7, 8, 9))]).states.detach().numpy()
    adapter.write(tmp_path / "a", made.weights(), settings().model, made.model_id, 4.0, "cl", {})
    asked = settings(dtype=dtype, normalize=False)
    merged, _ = Reasoner(asked, tmp_path / "a").of_sessions(["card failed"])
    published, _ = Reasoner(asked).of_sessions(["card failed"])
    assert np.abs(tuned - merged).max() < tolerance * np.abs(merged).max()
    assert np.abs(published - merged).max() > 10 * np.abs(tuned - merged).max()


def test_a_text_does_not_depend_on_those_beside_it(policy, texts):
    made = policy(neftune=5.0)
    for seed in (None, 3):
        together, alone = made.read(texts, seed), [made.read([text], seed) for text in texts]
        torch.testing.assert_close(together.states, torch.cat([one.states for one in alone]))
        torch.testing.assert_close(together.log_probs, torch.cat([one.log_probs for one in alone]))


def test_noise_and_dropout_are_there_in_training_only(policy, texts):
    noisy, plain = policy(neftune=5.0, dropout=0.5), policy(neftune=0.0)
    with torch.no_grad():
        without = plain.read(texts).states
        torch.testing.assert_close(noisy.read(texts).states, without)
        assert (noisy.read(texts, 1).states - without).abs().max() > 1e-3
        torch.testing.assert_close(plain.read(texts, 1).states, without)
        assert torch.equal(noisy.read(texts, 1).states, noisy.read(texts, 1).states)
        assert not torch.equal(noisy.read(texts, 1).states, noisy.read(texts, 2).states)


def test_noise_is_uniform_up_to_alpha_over_the_root_of_length_times_width(policy):
    made = policy(neftune=5.0)
    long = Text(3, tuple([5] * 300), (5,) * 100)
    [noise] = made._noise([long], 400, seed=1)
    limit = 5.0 / (400 * 16) ** 0.5
    assert noise.abs().max() <= limit and noise.abs().max() > 0.99 * limit
    assert noise.mean().abs() < 0.02 * limit and (noise.std() / limit - 3**-0.5).abs() < 0.02
    short = made._noise([long, Text(4, (5,), (5,))], 400, seed=1)
    assert (short[1, 2:] == 0).all() and (short[1, :2] != 0).all() and torch.equal(short[0], noise)


def test_only_lora_learns(policy, texts):
    made = policy()
    made.read(texts, 1).log_probs.sum().backward()
    assert all("lora_" in name for name in made.weights())
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in made.weights().values())


def test_a_model_in_bfloat16_is_tuned_in_float32(policy, texts):
    made = policy("bfloat16", neftune=5.0, dropout=0.1)
    read = made.read(texts, 1)
    assert read.states.dtype == read.log_probs.dtype == torch.float32
    (read.states.sum() + read.log_probs.sum()).backward()
    assert {value.dtype for value in made.weights().values()} == {torch.float32}
    assert all(value.grad.abs().sum() > 0 for value in made.weights().values())


def test_weights_of_another_rank_are_refused(policy):
    with pytest.raises(ValueError, match="adapter: is of another rank or model: .*lora_A"):
        policy().put(policy(rank=3).weights())
