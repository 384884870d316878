"""LoRA (Hu et al. 2022; CoCo Eq. 10) by PEFT, with two things PEFT has not: its dropout is a function of a seed, and
its weights' gradients leave out the rows of a batch that they shall not learn from (CoCo §4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

QUERY_AND_VALUE = (("q_proj", "v_proj"), ("query", "value"), ("q_lin", "v_lin"), ("q", "v"))
"""What architectures call the projections that get an adapter."""

_ADAPTER = "default"


@dataclass
class Pass:
    """One pass of a batch through the model, which its adapters look at.

    Attributes:
        seed: of the dropout's masks; None is no dropout.
        learns: (B,) bool, the rows whose gradient reaches the adapters; None is all. It may be set between forward
            and backward. What reaches the inputs is the same with any ``learns``.
    """

    seed: int | None = None
    learns: Tensor | None = None


class Adapters:
    """The LoRA layers of a model. ``current`` is the `Pass` that a forward belongs to."""

    def __init__(self, model: nn.Module, rank: int, alpha: float, dropout: float) -> None:
        """Adds them to the query and value projections, in place; every other weight is frozen.

        Raises:
            ValueError: the model has no such projections.
        """
        self.current = Pass()
        names = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
        targets = next((list(pair) for pair in QUERY_AND_VALUE if set(pair) <= names), None)
        if targets is None:
            raise ValueError(f"LoRA: the model has linear layers {sorted(names)}, and none of {QUERY_AND_VALUE}")
        model.requires_grad_(False)
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)
        inject_adapter_in_model(config, model, _ADAPTER)
        layers = [part for part in model.modules() if isinstance(part, LoraLayer)]
        for number, layer in enumerate(layers):
            if dropout:
                layer.lora_dropout[_ADAPTER] = SeededDropout(dropout, number, self)
            for half in (layer.lora_A, layer.lora_B):
                half[_ADAPTER] = RowGated(half[_ADAPTER].weight, self)


class SeededDropout(nn.Module):
    """Dropout whose mask is a function of the pass's seed, this layer's number and the input's shape.

    The rate is rounded to a multiple of 2^-16: masks are drawn as 16 bits a value, four times as fast as floats.
    """

    def __init__(self, rate: float, number: int, adapters: Adapters) -> None:
        super().__init__()
        self._dropped = min(round(rate * 2**16), 2**16 - 1)
        self.number, self._adapters = number, adapters

    def forward(self, x: Tensor) -> Tensor:
        seed = self._adapters.current.seed
        if seed is None:
            return x
        generator = torch.Generator(x.device)
        generator.manual_seed((seed * 1_000_003 + self.number) % 2**63)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
        bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: x.numel()].view(x.shape)
        return x * (bits >= self._dropped - 2**15) * (2**16 / (2**16 - self._dropped))


class RowGated(nn.Module):
    """``x W^T`` for x (B, …, in) → (B, …, out), whose weight gets its gradient from the rows that learn alone."""

    def __init__(self, weight: nn.Parameter, adapters: Adapters) -> None:
        super().__init__()
        exact = torch.promote_types(weight.dtype, torch.float32)  # updates are too small for bfloat16
        self.weight, self._adapters = nn.Parameter(weight.detach().to(exact)), adapters

    def forward(self, x: Tensor) -> Tensor:
        return _GatedProduct.apply(x, self.weight, self._adapters.current)


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, run: Pass) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.run = run
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        return upstream @ weight, _gradient(x, upstream, ctx.run.learns), None


def _gradient(x: Tensor, upstream: Tensor, learns: Tensor | None) -> Tensor:
    """Of the weight (out, in), from x (B, …, in) and upstream (B, …, out) in the rows that learn.

    One of the two is as narrow as LoRA's rank: rows are left out there, which copies little.
    """
    if learns is not None:
        if not learns.any():
            return upstream.new_zeros(upstream.shape[-1], x.shape[-1])
        spared = ~learns.view(-1, *[1] * (x.dim() - 1))
        if x.shape[-1] < upstream.shape[-1]:
            x = x.masked_fill(spared, 0)
        else:
            upstream = upstream.masked_fill(spared, 0)
    x, upstream = x.flatten(0, -2), upstream.flatten(0, -2)
    if x.shape[-1] < upstream.shape[-1]:  # the narrow one first is several times as fast on a processor
        return (x.T @ upstream).T
    return upstream.T @ x
