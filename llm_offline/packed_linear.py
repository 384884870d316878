"""Linear layers whose weights are laid out once for oneDNN's matrix product.

torch sends a float32 product to MKL, which uses AVX-512 on some makers' processors only; oneDNN uses it on
all. Laying the weights out beforehand also saves doing so at every call. Inference only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation


class PackedLinear(nn.Module):
    """``activation(x W^T + b)`` for x (…, in) → (…, out), float32 or bfloat16, on the CPU."""

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.activation = activation  # none | gelu

    def forward(self, x: Tensor) -> Tensor:
        algorithm = "none" if self.activation == "gelu" else ""  # gelu: the exact one, by erf
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], algorithm)


def pack_linears(model: nn.Module) -> int:
    """Puts a `PackedLinear` in the place of every `nn.Linear` of a model, in place; returns how many.

    The model can then no longer be trained or saved. Nothing is changed where torch has no oneDNN.
    """
    if not torch.backends.mkldnn.is_available():
        return 0
    count = 0
    for parent in list(model.modules()):
        fused = _fuses_gelu(parent)
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child, "gelu" if fused else "none"))
                count += 1
        if fused:
            parent.intermediate_act_fn = nn.Identity()
    return count


def _fuses_gelu(module: nn.Module) -> bool:
    """Whether a module is BERT's widening layer: one linear, then the exact GELU."""
    activation = getattr(module, "intermediate_act_fn", None)
    exact = isinstance(activation, nn.GELU) and activation.approximate == "none"
    return exact or type(activation) is GELUActivation
