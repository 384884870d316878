import math

import torch
from torch import nn

from llm_offline.knowledge.decoupling import Decoupling, Mean


def bare(made):
    """Without its norms."""
    for name in ("norm", "prompt_norm"):
        if hasattr(made, name):
            setattr(made, name, nn.Identity())
    return made


def test_each_prompt_takes_the_values_of_the_states_it_attends_to():
    """Eq. 5 by hand: one prompt that fits one of two states, projections that only scale."""
    decoupling = bare(Decoupling(width=2, d=2))
    with torch.no_grad():
        for part, scale in ((decoupling.query, 1.0), (decoupling.key, 2**0.5), (decoupling.value, 3.0)):
            part.weight.copy_(scale * torch.eye(2))
    prompts, mixed = torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]])
    found = decoupling(prompts, torch.tensor([[True, False]]), mixed, torch.tensor([[True, True, False]]))
    share = math.e / (math.e + 1)  # scores are 1 and 0
    torch.testing.assert_close(found, torch.tensor([[[3 * share, 3 * (1 - share)], [0.0, 0.0]]]))


def test_heads_attend_apart():
    decoupling = bare(Decoupling(width=2, d=2, heads=2))
    with torch.no_grad():
        for part in (decoupling.query, decoupling.key, decoupling.value):
            part.weight.copy_(torch.eye(2))
    mixed = torch.tensor([[[50.0, 0.0], [0.0, 50.0]]])
    found = decoupling(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=bool), mixed, torch.ones(1, 2, dtype=bool))
    torch.testing.assert_close(found, torch.tensor([[[50.0, 50.0]]]))  # one head alone would give (25, 25)


def test_without_it_every_prompt_gets_the_mean_of_the_states():
    made = bare(Mean(2, 2))
    with torch.no_grad():
        made.value.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    mixed = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    there = torch.tensor([[True, True, False]])
    found = made(torch.zeros(1, 2, 2), torch.tensor([[True, False]]), mixed, there)
    torch.testing.assert_close(found, torch.tensor([[[2.0, 5.0], [0.0, 0.0]]]))


def test_prompts_and_states_are_normed_so_that_neither_s_length_counts():
    decoupling, there = Decoupling(width=4, d=2), torch.ones(1, 3, dtype=bool)
    prompts, mixed = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    found = decoupling(prompts, there, mixed, there)
    torch.testing.assert_close(decoupling(0.3 * prompts, there, 50 * mixed, there), found, rtol=0, atol=1e-3)
    apart = (found[0, 0] - found[0, 1]).abs().max()
    assert apart > 0.05  # at the length of an input embedding, scores of prompts would be alike


def test_what_all_states_share_is_taken_off_their_values():
    """Normed by hand: (3, 1) is (1, −1), and (0, 4) is (−1, 1); their values by the identity have the mean 0."""
    made = Mean(2, 2)
    with torch.no_grad():
        made.value.weight.copy_(torch.eye(2))
    made.centre(torch.tensor([[3.0, 1.0], [0.0, 4.0], [5.0, 2.0]]))
    torch.testing.assert_close(made.value.bias, torch.tensor([-1.0, 1.0]) / 3, rtol=0, atol=1e-4)
    mask = torch.ones(1, 1, dtype=bool)
    found = made(torch.zeros(1, 1, 2), mask, torch.tensor([[[3.0, 1.0]]]), mask)
    torch.testing.assert_close(found, torch.tensor([[[2 / 3, -2 / 3]]]), rtol=0, atol=1e-4)


def test_without_states_the_values_stay_where_they_are():
    made = Decoupling(2, 2)
    made.centre(torch.zeros(0, 2))
    assert not made.value.bias.any()
