"""From one state a token to one vector a text."""

from __future__ import annotations

import torch
from torch import Tensor


def mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of the states of real tokens (Reimers & Gurevych 2019, section 3).

    Args:
        states: (B, L, D).
        mask: (B, L), 1 at real tokens, 0 at padding on either side; None where nothing is padded.
    Returns:
        (B, D).
    """
    if mask is None:
        return states.mean(dim=1)
    weight = mask.to(states.dtype).unsqueeze(-1)  # (B, L, 1)
    return (states * weight).sum(dim=1) / weight.sum(dim=1)


def last(states: Tensor, mask: Tensor | None) -> Tensor:
    """The state of the last real token; arguments and result as in `mean`."""
    if mask is None:
        return states[:, -1]
    return _state_at(states, _last_true(mask.bool()))


def eos(states: Tensor, mask: Tensor | None, token_ids: Tensor, eos_id: int) -> Tensor:
    """The state of the last end-of-sequence token that is not padding.

    Args:
        states, mask: as in `mean`.
        token_ids: (B, L).
        eos_id: the id of the end-of-sequence token; padding may use the same id.
    Raises:
        ValueError: a text has no such token.
    """
    ends = token_ids == eos_id  # (B, L)
    if mask is not None:
        ends = ends & mask.bool()
    if not ends.any(dim=1).all():
        row = int((~ends.any(dim=1)).nonzero()[0])
        raise ValueError(f"eos pooling: text {row} of the batch has no end-of-sequence token ({eos_id})")
    return _state_at(states, _last_true(ends))


def _last_true(flags: Tensor) -> Tensor:
    """(B, L) bool → (B,) the position of the last True in each row."""
    positions = torch.arange(flags.shape[1], device=flags.device)
    return torch.where(flags, positions, -1).amax(dim=1)


def _state_at(states: Tensor, position: Tensor) -> Tensor:
    rows = torch.arange(states.shape[0], device=states.device)
    return states[rows, position]  # (B, D)
