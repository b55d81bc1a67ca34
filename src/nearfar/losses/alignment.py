"""Alignment and uniformity: how near positives are, and how evenly embeddings spread over the sphere.

Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
2020. https://arxiv.org/abs/2005.10242
"""

import math

import torch
from torch import Tensor

from nearfar.errors import DataError, must
from nearfar.kernels import self_lse
from nearfar.losses.batch import check_same_shape
from nearfar.losses.unit import unit


def alignment(z1: Tensor, z2: Tensor, *, alpha: float = 2.0) -> Tensor:
    """Mean of `|u1_i - u2_i| ** alpha` over positive pairs, u of unit length: [B, D], [B, D] -> [].

    From 0 (views coincide) to 2 ** alpha. Coinciding views get gradient 0 for every alpha > 0.
    """
    must(alpha > 0, "alpha must be > 0", got=alpha)
    check_same_shape({"z1": z1, "z2": z2})
    squared = (unit(z1) - unit(z2)).square().sum(-1)
    if alpha == 2:
        return squared.mean()
    # The root has no derivative at 0: coinciding pairs take no part in it.
    apart = squared > 0
    return torch.where(apart, squared, 1.0).pow(alpha / 2).mul(apart).mean()


def uniformity(z: Tensor, *, t: float = 2.0, implementation: str = "auto") -> Tensor:
    """`log mean_{i<j} exp(-t |u_i - u_j|^2)`, u of unit length, over all pairs: [N, D] -> [], N >= 2.

    From 0 (all coincide) towards -2t (all orthogonal) and below; exact at any N, in memory linear in N. A zero row
    counts as orthogonal to all. Raises DataError for fewer than two rows.
    """
    must(t > 0, "t must be > 0", got=t)
    if z.dim() != 2 or len(z) < 2:
        raise DataError(f"Uniformity needs at least two embeddings [N, D], got shape {list(z.shape)}.")
    n = len(z)
    # |u_i - u_j|^2 = 2 - 2 u_i . u_j, and the mean over i < j is that over all ordered pairs.
    lse = self_lse(unit(z), scale=2 * t, implementation=implementation)
    return lse.logsumexp(0) - 2 * t - math.log(n * (n - 1))
