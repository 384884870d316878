"""The losses of the alignment (RGAlign-Rec Eqs. 8, 10 and 11). Each row's own: whoever calls takes the mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """log π(token) of each position: logits (n, V), tokens (n,) → (n,)."""
    chosen = logits.gather(1, tokens.unsqueeze(1)).squeeze(1)
    return chosen - torch.logsumexp(logits, dim=1)


def cosines(states: Tensor, targets: Tensor, own: Tensor, hidden: Tensor) -> Tensor:
    """cos(h, e⁺) (b, N) of some rows of a batch with all its targets; −inf at those that are no negatives.

    Args:
        states: h (b, D). targets: e⁺ (N, D).
        own: (b,) which of the N is a row's own.
        hidden: (b, N) bool, targets that are no negatives of a row (its own may be among them, it counts all the same).
    """
    found = functional.normalize(states, dim=1) @ functional.normalize(targets, dim=1).T
    others = hidden.scatter(1, own.unsqueeze(1), False)
    return found.masked_fill(others, -torch.inf)


def info_nce(near: Tensor, own: Tensor, temperature: float) -> Tensor:
    """Eq. 11: −log of the softmax over cos / τ at the row's own target; ``near`` (b, N) as `cosines` → (b,)."""
    scaled = near / temperature
    return torch.logsumexp(scaled, dim=1) - scaled.gather(1, own.unsqueeze(1)).squeeze(1)


def dpo(chosen: Tensor, rejected: Tensor, before_chosen: Tensor, before_rejected: Tensor, beta: float) -> Tensor:
    """Eq. 10, from log π(q | C) of whole queries (b,): by the model that learns, and by the one it started from."""
    gain = (chosen - before_chosen) - (rejected - before_rejected)
    return -functional.logsigmoid(beta * gain)
