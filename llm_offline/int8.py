"""Linear layers with 8-bit weights, on a processor."""

from __future__ import annotations

import torch
from torch import nn

from llm_offline.linears import replace_linears

_LEAST = 1e-12  # of a scale: rows of zeros
_FINER = 254  # steps of the second number in one of the first


def quantize_linears(model: nn.Module) -> int:
    """Puts an `Int8Linear` in the place of every float32 `nn.Linear` of a model, in place; returns how many.

    The model can then no longer be trained or saved.
    """
    return replace_linears(model, Int8Linear)


class Int8Linear(nn.Module):
    """``x W^T + b`` for x (…, in) → (…, out), by whole numbers of 8 bits.

    W has a scale an output, x one a row: what comes out of a row does not depend on the rows beside it. torch's own
    `linear_dynamic` has one scale for all rows and seven bits.

    x is two numbers of 8 bits, what the first leaves being the second's: a decoder's states have a few huge numbers,
    beside which a single one of 8 bits loses the others, and with them what tells two texts apart.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.scale = weight.abs().amax(dim=1).clamp_min(_LEAST) / 127  # (out,)
        self.weight = (weight / self.scale.unsqueeze(1)).round().to(torch.int8).t()  # (in, out)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(0, -2)
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(_LEAST) / 127  # (n, 1)
        whole = rows / scale
        high = whole.round()
        both = torch.cat([high, (whole - high) * _FINER]).round().to(torch.int8)  # (2 n, in)
        above, below = torch._int_mm(both, self.weight).float().chunk(2)  # (n, out)
        found = (above + below / _FINER) * scale * self.scale
        return (found if self.bias is None else found + self.bias).unflatten(0, x.shape[:-1])
