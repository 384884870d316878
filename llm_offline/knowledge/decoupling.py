"""The decoupling cross-attention: from the language model's mixed states to one piece of knowledge a prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Values(nn.Module):
    """What is taken of the mixed states h_mix (B, L, D): each normed, projected to d, and moved.

    A language model's states share most of their length, whatever they are of. ``centre`` takes that off at the
    beginning; where it goes in training is learnt.

    Args:
        width: of the language model, D. d: of the knowledge.
    """

    def __init__(self, width: int, d: int) -> None:
        super().__init__()
        self.norm, self.value = nn.LayerNorm(width), nn.Linear(width, d)
        nn.init.xavier_uniform_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def centre(self, mixed: Tensor) -> None:
        """Has the values of some states (n, D) a mean of 0; of none it is left where it is."""
        if not len(mixed):
            return
        with torch.no_grad():
            self.value.bias.copy_(-(self.norm(mixed) @ self.value.weight.T).mean(0))


class Decoupling(Values):
    """h_pure = CrossAttention(h_prompt W_Q, h_mix W_K, h_mix W_V), CoCo Eq. 5.

    Prompts and states are normed before, as is usual where attention is over what others made: a soft prompt has the
    length of an input embedding, by which all scores would be 0 and every prompt's knowledge the mean.

    Args:
        width, d: as of `Values`.
        heads: must divide d.
    """

    def __init__(self, width: int, d: int, heads: int = 1) -> None:
        super().__init__(width, d)
        self.heads, self.prompt_norm = heads, nn.LayerNorm(width)
        self.query, self.key = (nn.Linear(width, d, bias=False) for _ in range(2))
        for projection in (self.query, self.key):
            nn.init.xavier_uniform_(projection.weight)

    def forward(self, prompts: Tensor, prompt_mask: Tensor, mixed: Tensor, mixed_mask: Tensor) -> Tensor:
        """
        Args:
            prompts: (B, m, D), and their mask (B, m), True at prompts and False at padding.
            mixed: (B, L, D) states, and their mask (B, L), at least one True a row.
        Returns:
            (B, m, d); zeros at padding.
        """
        prompts, mixed = self.prompt_norm(prompts), self.norm(mixed)
        q, k, v = (self._split(p(x)) for p, x in ((self.query, prompts), (self.key, mixed), (self.value, mixed)))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, heads, m, L)
        scores = scores.masked_fill(~mixed_mask[:, None, None], float("-inf"))
        pure = torch.softmax(scores, dim=-1) @ v  # (B, heads, m, d / heads)
        return pure.transpose(1, 2).flatten(2) * prompt_mask.unsqueeze(-1)

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, d) → (B, heads, n, d / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Mean(Values):
    """No decoupling, for comparison: each prompt's knowledge is the mean of the mixed states, projected to d.

    Args:
        width, d: as of `Decoupling`, whose place it takes; ``heads`` is of no meaning here.
    """

    def __init__(self, width: int, d: int, heads: int = 1) -> None:
        super().__init__(width, d)

    def forward(self, prompts: Tensor, prompt_mask: Tensor, mixed: Tensor, mixed_mask: Tensor) -> Tensor:
        """As `Decoupling.forward`."""
        there = mixed_mask.unsqueeze(-1).to(mixed.dtype)
        mean = (self.norm(mixed) * there).sum(1, keepdim=True) / there.sum(1, keepdim=True)  # (B, 1, D)
        return self.value(mean) * prompt_mask.unsqueeze(-1)
