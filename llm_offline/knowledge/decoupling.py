"""The decoupling cross-attention: from the language model's mixed states to one piece of knowledge a prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Decoupling(nn.Module):
    """h_pure = CrossAttention(h_prompt W_Q, h_mix W_K, h_mix W_V), CoCo Eq. 5.

    Args:
        width: of the language model, D.
        d: of the knowledge.
        heads: must divide d.
    """

    def __init__(self, width: int, d: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, d, bias=False) for _ in range(3))
        for projection in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(projection.weight)

    def forward(self, prompts: Tensor, prompt_mask: Tensor, mixed: Tensor, mixed_mask: Tensor) -> Tensor:
        """
        Args:
            prompts: (B, m, D), and their mask (B, m), True at prompts and False at padding.
            mixed: (B, L, D) states, and their mask (B, L), at least one True a row.
        Returns:
            (B, m, d); zeros at padding.
        """
        q, k, v = (self._split(p(x)) for p, x in ((self.query, prompts), (self.key, mixed), (self.value, mixed)))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, heads, m, L)
        scores = scores.masked_fill(~mixed_mask[:, None, None], float("-inf"))
        pure = torch.softmax(scores, dim=-1) @ v  # (B, heads, m, d / heads)
        return pure.transpose(1, 2).flatten(2) * prompt_mask.unsqueeze(-1)

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, d) → (B, heads, n, d / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Mean(nn.Module):
    """No decoupling, for comparison: each prompt's knowledge is the mean of the mixed states, projected to d.

    Args:
        width, d: as of `Decoupling`, whose place it takes; ``heads`` is of no meaning here.
    """

    def __init__(self, width: int, d: int, heads: int = 1) -> None:
        super().__init__()
        self.value = nn.Linear(width, d, bias=False)
        nn.init.xavier_uniform_(self.value.weight)

    def forward(self, prompts: Tensor, prompt_mask: Tensor, mixed: Tensor, mixed_mask: Tensor) -> Tensor:
        """As `Decoupling.forward`."""
        there = mixed_mask.unsqueeze(-1).to(mixed.dtype)
        mean = (mixed * there).sum(1, keepdim=True) / there.sum(1, keepdim=True)  # (B, 1, D)
        return self.value(mean) * prompt_mask.unsqueeze(-1)
