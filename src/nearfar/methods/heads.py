"""Heads: small networks between an encoder's features and the space in which a loss compares."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.contract import Encoder
from nearfar.options import Facts


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


def usual(encoder: Encoder) -> tuple[int, str]:
    """The width of a projector's hidden layer: the encoder's dimensions, between 512 and 2048; and the reason."""
    return min(2048, max(512, encoder.dim)), f"for an encoder of {encoder.dim} dimensions"


def wide(encoder: Encoder, facts: Facts) -> tuple[int, str]:
    """The width of a projector whose dimensions are decorrelated, a power of two, and the reason.

    Four times the encoder's dimensions and at most 8 sqrt(samples), between 512 and 8192. That gives the width of both
    Barlow Twins and VICReg for ResNet-50 on ImageNet, 8192, and of solo-learn's recipes for ResNet-18 on CIFAR, 2048.
    """
    samples = facts.samples
    fitting = min(4 * encoder.dim, 8 * math.sqrt(samples))
    width = 2 ** round(math.log2(min(8192, max(512, fitting))))
    return width, f"for an encoder of {encoder.dim} dimensions and {samples} samples"


def hidden(encoder: Encoder, facts: Facts) -> tuple[int, str]:
    """The width of the hidden layers of heads that predict, a power of two, and the reason.

    512 for 1,000 samples and twice as wide for each tenfold, up to BYOL's 4096 for ImageNet's million; no narrower than
    the encoder's dimensions.
    """
    samples = facts.samples
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


def learned(start: float, *, sgd_rate: float = 0.001) -> nn.Parameter:
    """A scalar of the loss stage, such as the logarithm of a scale: free of weight decay.

    Under sgd it takes the share `sgd_rate` of the learning rate: its gradient sums over the whole batch, and at the
    full rate CLIP's scale runs from 5 to 100 within a hundred steps (digits, batches of 256, rate 0.25).
    """
    parameter = nn.Parameter(torch.tensor(float(start)))
    parameter.nearfar_tags = {"decay": False, "sgd_rate": sgd_rate}  # type: ignore[attr-defined]
    return parameter
