"""Heads: small networks between an encoder's features and the space in which a loss compares."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.contract import Encoder, Facts

SMALL = 5_000
"""Samples where nothing is known of the data."""


def mlp(*dims: int, last_norm: bool = False) -> nn.Sequential:
    """Linear layers of widths `dims`, batch norm and ReLU between them; no bias where a norm would cancel it.

    `last_norm` adds a batch norm without affine parameters at the end (SimCLR v2 code, BYOL's and SimSiam's heads).
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(dims)):
        layers.append(nn.Linear(inputs, outputs, bias=False))
        if i < len(dims) - 2:
            layers += [nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
        elif last_norm:
            layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)


def hidden(encoder: Encoder, facts: Facts | None) -> tuple[int, str]:
    """The width of the hidden layers of heads that predict, a power of two, and the reason.

    512 for 1,000 samples and twice as wide for each tenfold, up to BYOL's 4096 for ImageNet's million; no narrower than
    the encoder's dimensions.
    """
    samples = SMALL if facts is None else facts.samples
    fitting = 2 ** round(math.log2(512) + math.log10(max(1, samples) / 1000))
    width = max(min(4096, max(512, fitting)), encoder.dim)
    return width, f"for an encoder of {encoder.dim} dimensions and {samples} samples"


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
