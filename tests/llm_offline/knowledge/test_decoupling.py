import math

import torch

from llm_offline.knowledge.decoupling import Decoupling, Mean


def test_each_prompt_takes_the_values_of_the_states_it_attends_to():
    """Eq. 5 by hand: one prompt that fits one of two states, projections that only scale."""
    decoupling = Decoupling(width=2, d=2)
    with torch.no_grad():
        for part, scale in ((decoupling.query, 1.0), (decoupling.key, 2**0.5), (decoupling.value, 3.0)):
            part.weight.copy_(scale * torch.eye(2))
    prompts, mixed = torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]])
    found = decoupling(prompts, torch.tensor([[True, False]]), mixed, torch.tensor([[True, True, False]]))
    share = math.e / (math.e + 1)  # scores are 1 and 0
    torch.testing.assert_close(found, torch.tensor([[[3 * share, 3 * (1 - share)], [0.0, 0.0]]]))


def test_heads_attend_apart():
    decoupling = Decoupling(width=2, d=2, heads=2)
    with torch.no_grad():
        for part in (decoupling.query, decoupling.key, decoupling.value):
            part.weight.copy_(torch.eye(2))
    mixed = torch.tensor([[[50.0, 0.0], [0.0, 50.0]]])
    found = decoupling(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=bool), mixed, torch.ones(1, 2, dtype=bool))
    torch.testing.assert_close(found, torch.tensor([[[50.0, 50.0]]]))  # one head alone would give (25, 25)


def test_without_it_every_prompt_gets_the_mean_of_the_states():
    made = Mean(2, 2)
    with torch.no_grad():
        made.value.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    mixed = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    there = torch.tensor([[True, True, False]])
    found = made(torch.zeros(1, 2, 2), torch.tensor([[True, False]]), mixed, there)
    torch.testing.assert_close(found, torch.tensor([[[2.0, 5.0], [0.0, 0.0]]]))
