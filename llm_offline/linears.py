"""Putting other layers in the place of a model's linear ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def replace_linears(model: nn.Module, of: Callable[[nn.Linear], nn.Module]) -> int:
    """Puts ``of(linear)`` in the place of every float32 `nn.Linear` of a model, in place; returns how many."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype == torch.float32
    ]
    for parent, name, child in found:
        setattr(parent, name, of(child))
    return len(found)
