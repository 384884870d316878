"""Linear layers that are trained through, not trained: oneDNN's matrix product forward and backward.

torch sends a float32 product to MKL, which uses AVX-512 on some makers' processors only; oneDNN uses it on all.
`packed_linear` is for inference alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from llm_offline.linears import replace_linears


class FrozenLinear(nn.Module):
    """``x W^T + b`` for x (…, in) → (…, out), float32 on the CPU; only x gets a gradient."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight.requires_grad_(False), linear.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self.weight, self.bias)


def freeze_linears(model: nn.Module) -> int:
    """Puts a `FrozenLinear` in the place of every float32 `nn.Linear` of a model, in place; returns how many.

    Nothing is changed where torch has no oneDNN. Products in bfloat16 go to oneDNN anyway.
    """
    if not torch.backends.mkldnn.is_available():
        return 0
    return replace_linears(model, FrozenLinear)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _product(upstream, weight.T, None), None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
