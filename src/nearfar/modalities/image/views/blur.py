"""Gaussian blur, a width of its own for each sample: how far it reaches, and what it is as matrices."""

import math

import torch
from torch import Tensor

_SIGMAS = 3  # further out there are 0.3 % of the weight


def reach(sigma: float) -> int:
    """Pixels on either side that a blur of this width sees."""
    return math.ceil(_SIGMAS * sigma)


def blurring(sigmas: Tensor, size: int) -> Tensor:
    """Matrices `[b, size, size]` that blur; sigma 0 is the identity. Sigmas `[b]` are in pixels.

    Weights stop at `reach`; what lies outside mirrors the picture, without the border itself (torch's `reflect`).
    """
    most = size - 1
    at = torch.arange(-most, most + 1, device=sigmas.device)
    wide = sigmas.double()[:, None]
    kernels = (-at.square() / (2 * wide.square()).clamp_min(1e-8)).exp()
    kernels = kernels.masked_fill(at.abs() > (_SIGMAS * wide).ceil(), 0).float()  # [b 2n-1]
    kernels = kernels / kernels.sum(1, keepdim=True)
    # Row i has the weights at 0 - i ... size - 1 - i; those of the places -1 ... -most and of size ... fold back.
    unfolded = torch.nn.functional.pad(kernels, (most, most)).unfold(1, size + 2 * most, 1).flip(1)  # [b n n+2most]
    found = unfolded[:, :, most : most + size].clone()
    found[:, :, 1:] += unfolded[:, :, :most].flip(2)
    found[:, :, :-1] += unfolded[:, :, most + size :].flip(2)
    return found
