"""Momentum encoders: moving averages of other networks, as MoCo's key encoder, BYOL's target and DINO's teacher are.

He et al., "Momentum contrast for unsupervised visual representation learning", 2020, eq. 2:
average = m * average + (1 - m) * network.
"""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network) -> Network:
    """A copy whose parameters the optimiser leaves alone: `update` moves them. Batch statistics are its own."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, momentum: float) -> None:
    """Move the average's parameters by the share 1 - `momentum` of the way to the network's."""
    ours: list[Tensor] = [*average.parameters()]
    theirs: list[Tensor] = [*network.parameters()]
    if ours:
        torch._foreach_lerp_(ours, theirs, 1 - momentum)


def scheduled(progress: float, start: float) -> float:
    """The momentum when `progress` in [0, 1] of the run is done: from `start` to 1 along half a cosine.

    1 - (1 - start) (cos(pi progress) + 1) / 2 (Grill et al., "Bootstrap your own latent", 2020, section 3.3).
    """
    return 1 - (1 - start) * (math.cos(math.pi * min(max(progress, 0.0), 1.0)) + 1) / 2
