"""What tests of networks with batch normalisation share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["noise", "normalise", "perturbed"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal float64 numbers, always the same for a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normalise(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Return batch normalisation while training, without PyTorch's function for it."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    weight, bias = (p[:, None, None] for p in (norm.weight, norm.bias))
    return weight * (x - mean) / (variance + 1e-5).sqrt() + bias


def perturbed(module: nn.Module, seed: int = 4) -> nn.Module:
    """Return a module in float64, with batch norms that are not the identity."""
    torch.manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
    return module.double()
