"""Momentum encoders: networks that follow others slowly, as MoCo's key encoder, BYOL's target and DINO's teacher do.

He et al., "Momentum contrast for unsupervised visual representation learning", 2020, eq. 2:
followed = m * followed + (1 - m) * network.
"""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

_AS_USUAL = 50_000
"""Samples (CIFAR's) up to which m is 0.99, as in solo-learn's and lightly's recipes for CIFAR."""

Network = TypeVar("Network", bound=nn.Module)


def lagging(network: Network) -> Network:
    """A copy that is no parameter of the optimiser: `follow` moves it. Batch statistics are its own."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(lagging: nn.Module, network: nn.Module, momentum: float) -> None:
    """Move the copy's parameters by the share 1 - `momentum` of the way to the network's."""
    ours: list[Tensor] = [*lagging.parameters()]
    theirs: list[Tensor] = [*network.parameters()]
    if ours:
        torch._foreach_lerp_(ours, theirs, 1 - momentum)


def rising(progress: float, start: float) -> float:
    """The momentum when `progress` in [0, 1] of the run is done: from `start` to 1 along half a cosine.

    1 - (1 - start) (cos(pi progress) + 1) / 2 (Grill et al., "Bootstrap your own latent", 2020, section 3.3).
    """
    return 1 - (1 - start) * (math.cos(math.pi * min(max(progress, 0.0), 1.0)) + 1) / 2


def for_samples(samples: int) -> float:
    """The momentum that suits data of this size, to 4 digits: 0.99 up to 50,000 samples, nearer to 1 beyond.

    1 - 0.01 (50,000 / samples)^0.4: 0.997 at ImageNet's size, between BYOL's 0.996 and MoCo's 0.999. Small data is
    trained for few steps, and a copy that follows more slowly than the run lasts never learns.
    """
    step: float = 0.01 * min(1.0, _AS_USUAL / max(1, samples)) ** 0.4
    return round(1 - step, 4)
