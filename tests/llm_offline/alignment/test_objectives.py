from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_offline.alignment.losses import cosines, info_nce
from llm_offline.alignment.objectives import Contrastive, Dpo, Sft, Targets, score
from llm_offline.alignment_config import TuneConfig

ITEMS = np.array([4, 0, 3, 5, 1])


def tune(micro_tokens=10_000, **changes):
    return TuneConfig(micro_tokens=micro_tokens, dropout=0.0, **changes)


def targets():
    random = torch.Generator().manual_seed(1)
    intents = [{"a"}, {"b"}, {"a", "c"}, {"d"}, {"c"}, {"b", "d"}]
    return Targets(torch.randn(6, 16, generator=random), [frozenset(each) for each in intents])


def objective(kind, policy, texts, config):
    if kind == "sft":
        return Sft(texts, config)
    if kind == "cl":
        return Contrastive(texts, targets(), config)
    pairs = [(texts[n], texts[(n + 1) % 6]) for n in range(6)]
    before = score(policy, texts, 100)
    return Dpo(pairs, np.array([[before[n] - 0.1 * n, before[(n + 1) % 6]] for n in range(6)]), config)


def gradients(kind, policy, texts, config):
    told = objective(kind, policy, texts, config).backward(policy, ITEMS, seed=7)
    found = {name: value.grad.clone() for name, value in policy.weights().items()}
    for value in policy.weights().values():
        value.grad = None
    return told, found


@pytest.mark.parametrize("kind", ["sft", "cl", "dpo"])
def test_accumulation_over_parts_equals_one_batch_of_their_size(policy, texts, kind):
    made = policy(neftune=5.0)
    whole, expected = gradients(kind, made, texts, tune())
    assert max(value.abs().max() for value in expected.values()) > 1e-3
    for micro_tokens in (1, 12, 26):
        parts, found = gradients(kind, made, texts, tune(micro_tokens))
        assert parts == pytest.approx(whole)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0)


def test_the_batch_goes_through_the_model_in_parts(policy, texts, monkeypatch):
    made, sizes = policy(), []
    read = made.read
    monkeypatch.setattr(made, "read", lambda some, seed: sizes.append(len(some)) or read(some, seed))
    Contrastive(texts, targets(), tune(12)).backward(made, ITEMS, None)
    assert sum(sizes) == 5 and len(sizes) > 2


def test_the_contrastive_loss_has_the_whole_batch_as_negatives_but_those_of_its_intents(policy, texts):
    made = policy()
    told = Contrastive(texts, targets(), tune(1, causal=0.0)).backward(made, ITEMS, None)
    states, wanted = made.read([texts[n] for n in ITEMS]).states, targets()
    hidden = torch.tensor([[bool(wanted.intents[n] & wanted.intents[m]) for m in ITEMS] for n in ITEMS])
    assert hidden.sum() == 9  # the diagonal; b is of 5 and 1, d of 3 and 5
    near = cosines(states, wanted.vectors[ITEMS].double(), torch.arange(5), hidden)
    assert told["contrastive"] == pytest.approx(info_nce(near, torch.arange(5), 0.05).mean().item())
    assert told["nearest"] == pytest.approx((near.argmax(1) == torch.arange(5)).double().mean().item())


def test_states_are_compared_where_the_targets_say(policy, texts):
    made, plain = policy(), targets()
    origin, scale = torch.linspace(-1, 1, 16), torch.linspace(1, 3, 16)
    placed = replace(plain, origin=origin, scale=scale)
    told = Contrastive(texts, placed, tune(12, causal=0.0)).backward(made, ITEMS, None)
    states = (made.read([texts[n] for n in ITEMS]).states - origin) / scale
    hidden = torch.tensor([[bool(plain.intents[n] & plain.intents[m]) for m in ITEMS] for n in ITEMS])
    near = cosines(states, plain.vectors[ITEMS].double(), torch.arange(5), hidden)
    assert told["contrastive"] == pytest.approx(info_nce(near, torch.arange(5), 0.05).mean().item())
    same = replace(plain, origin=torch.zeros(16), scale=torch.ones(16))
    found = [Contrastive(texts, each, tune(causal=0.0)).backward(made, ITEMS, None) for each in (plain, same)]
    assert found[0] == found[1] and told["contrastive"] != pytest.approx(found[0]["contrastive"])


def test_without_gathering_the_negatives_are_those_of_a_part(policy, texts):
    made, alone = policy(), tune(1, causal=0.0, gather=False)
    told = Contrastive(texts, targets(), alone).backward(made, ITEMS, None)
    assert told["contrastive"] == pytest.approx(0.0) and told["nearest"] == 1.0  # a part is one text
    whole = Contrastive(texts, targets(), tune(causal=0.0)).backward(made, ITEMS, None)
    assert Contrastive(texts, targets(), tune(causal=0.0, gather=False)).backward(made, ITEMS, None) == whole
    assert "micro_tokens" in alone.kept() and "micro_tokens" not in tune().kept()


def test_the_joint_loss_weighs_its_parts(policy, texts):
    told = Contrastive(texts, targets(), tune(contrastive=2.0, causal=0.25)).backward(policy(), ITEMS, None)
    assert told["loss"] == pytest.approx(2.0 * told["contrastive"] + 0.25 * told["causal"])
    sft = Sft(texts, tune()).backward(policy(), ITEMS, None)
    assert told["causal"] == pytest.approx(sft["loss"])


def test_sft_s_loss_is_per_token(policy, texts):
    made = policy()
    read = made.read([texts[n] for n in ITEMS])
    assert Sft(texts, tune()).backward(made, ITEMS, None)["loss"] == pytest.approx(-read.log_probs.sum().item() / 13)


def test_dpo_starts_at_log_two(policy, texts):
    made = policy()
    before = score(made, texts, 20)
    pairs = [(texts[0], texts[1]), (texts[2], texts[3])]
    told = Dpo(pairs, before[:4].reshape(2, 2), tune()).backward(made, np.array([1, 0]), None)
    assert told["loss"] == pytest.approx(np.log(2), abs=1e-9)
