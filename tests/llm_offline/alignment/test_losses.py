from math import exp, log, sqrt

import pytest
import torch

from llm_offline.alignment.losses import cosines, dpo, info_nce, log_probs

NONE = torch.zeros(2, 2, dtype=torch.bool)
STATES = torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)  # directions (0.6, 0.8) and (0, 1)
TARGETS = torch.tensor([[5.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
OWN = torch.tensor([0, 1])


def test_info_nce_by_hand():
    near = cosines(STATES, TARGETS, OWN, NONE)
    torch.testing.assert_close(near, torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64))
    found = info_nce(near, OWN, 0.5)
    # row 0: −log e^{1.2} / (e^{1.2} + e^{1.6}); row 1: −log e² / (e⁰ + e²)
    expected = [log(1 + exp(0.4)), log(1 + exp(-2.0))]
    assert found.tolist() == pytest.approx(expected)
    assert found.tolist() == pytest.approx([0.913015, 0.126928], abs=1e-6)


def test_a_target_of_the_same_intent_is_no_negative():
    hidden = torch.tensor([[True, True], [True, False]])  # a row's own target counts all the same
    near = cosines(STATES, TARGETS, OWN, hidden)
    assert near.tolist() == [[pytest.approx(0.6), -float("inf")], [-float("inf"), 1.0]]
    assert info_nce(near, OWN, 0.05).tolist() == [0.0, 0.0]


def test_info_nce_is_torch_s_cross_entropy_of_explicit_logits():
    torch.manual_seed(0)
    states, targets = torch.randn(5, 7, dtype=torch.float64), torch.randn(9, 7, dtype=torch.float64)
    own, hidden = torch.tensor([3, 0, 8, 5, 1]), torch.rand(5, 9) < 0.3
    states.requires_grad_()
    found = info_nce(cosines(states, targets, own, hidden), own, 0.05)
    logits = torch.empty(5, 9, dtype=torch.float64)
    for row in range(5):
        for place in range(9):
            angle = torch.dot(states[row], targets[place]) / (states[row].norm() * targets[place].norm())
            masked = hidden[row, place] and place != own[row]
            logits[row, place] = -float("inf") if masked else angle / 0.05
    expected = torch.nn.functional.cross_entropy(logits, own, reduction="none")
    torch.testing.assert_close(found, expected)
    one, other = (torch.autograd.grad(each.mean(), states, retain_graph=True)[0] for each in (found, expected))
    torch.testing.assert_close(one, other)


def test_targets_of_the_whole_batch_are_negatives_of_a_part_of_it():
    part = cosines(STATES[1:], TARGETS, OWN[1:], NONE[1:])
    assert info_nce(part, OWN[1:], 0.5).tolist() == pytest.approx([log(1 + exp(-2.0))])


def test_dpo_by_hand():
    policy = [torch.tensor([-10.0]), torch.tensor([-12.0])]
    before = [torch.tensor([-11.0]), torch.tensor([-11.5])]
    # the chosen one gained 1, the rejected one lost 0.5: −log σ(0.1 · 1.5)
    assert dpo(*policy, *before, 0.1).item() == pytest.approx(log(1 + exp(-0.15)))
    assert dpo(*policy, *before, 0.1).item() == pytest.approx(0.620957, abs=1e-6)
    assert dpo(*policy, *policy, 0.1).item() == pytest.approx(log(2))


def test_dpo_s_gradient_is_beta_times_the_chance_of_the_wrong_order():
    chosen = torch.tensor([-10.0], requires_grad=True)
    dpo(chosen, torch.tensor([-12.0]), torch.tensor([-11.0]), torch.tensor([-11.5]), 0.1).backward()
    assert chosen.grad.item() == pytest.approx(-0.1 / (1 + exp(0.15)))


def test_log_probs_by_hand():
    logits = torch.tensor([[log(1.0), log(3.0)], [0.0, 0.0]])
    assert log_probs(logits, torch.tensor([1, 0])).tolist() == pytest.approx([log(0.75), log(0.5)])


def test_a_length_does_not_count():
    near = cosines(STATES * 7, TARGETS / 3, OWN, NONE)
    assert near[0].tolist() == pytest.approx([3 / sqrt(25), 4 / sqrt(25)])
