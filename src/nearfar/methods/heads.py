"""Heads: small networks between an encoder's features and the space in which a loss compares."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


def mlp(*dims: int, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Linear layers of widths `dims`, batch norm and ReLU between them; no bias where a norm would cancel it.

    `last_norm` adds a batch norm without affine parameters at the end (SimCLR v2 code, BYOL's and SimSiam's heads).
    Without `norm` there is ReLU alone between the layers, and they have biases (MoCo v2's head).
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(dims)):
        layers.append(nn.Linear(inputs, outputs, bias=not norm))
        if i < len(dims) - 2:
            layers += [nn.BatchNorm1d(outputs)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        elif last_norm:
            layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """K unit vectors; scores are their cosines with latents. They live in the loss stage.

    Kept at their length by dividing by it, without weight decay, which could only change that length.
    `frozen_until` is the share of the run before which they stay as they are.
    """

    def __init__(self, dim: int, count: int, *, frozen_until: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(normalize(torch.randn(count, dim), dim=-1))
        self.weight.nearfar_tags = {"decay": False, "frozen_until": frozen_until}  # type: ignore[attr-defined]

    def forward(self, z: Tensor) -> Tensor:
        """Cosines `[..., K]` of latents `[..., dim]` with the prototypes."""
        return normalize(z, dim=-1) @ normalize(self.weight, dim=-1).T
