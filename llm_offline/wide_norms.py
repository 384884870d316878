"""Checks in float64: norms that do not fall back to float32."""

from __future__ import annotations

import torch
from torch import nn


def widen_norms(model: nn.Module) -> None:
    """Gives RMS norms that compute in float32 the precision of their input."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                wide = nn.RMSNorm(child.weight.shape[0], child.variance_epsilon, dtype=torch.float64)
                wide.weight = child.weight
                setattr(parent, name, wide)
