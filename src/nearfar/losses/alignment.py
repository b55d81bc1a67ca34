"""Alignment and uniformity: how near positives are, and how evenly embeddings spread over the sphere.

Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
2020. https://arxiv.org/abs/2005.10242
"""

import math
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels import self_lse
from nearfar.losses.core.batch import ShapeError, check_same_shape, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import MeanReduction, Positive
from nearfar.losses.core.unit import unit


@objective
def alignment(
    z1: Tensor, z2: Tensor, *, alpha: Positive = 2.0, rows: slice | None = None, reduction: MeanReduction = "mean"
) -> Tensor:
    """Mean of `|u1_i - u2_i| ** alpha` over positive pairs, u of unit length: [B, D], [B, D] -> [].

    From 0 (views coincide) to 2 ** alpha. Coinciding views get gradient 0 for every alpha > 0. rows: the samples whose
    losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the whole. reduction "none"
    gives [rows].
    """
    check_same_shape({"z1": z1, "z2": z2})
    own = own_rows(rows, len(z1))
    losses = (unit(part(z1, own)) - unit(part(z2, own))).square().sum(-1)
    if alpha != 2:
        # The root has no derivative at 0: coinciding pairs take no part in it.
        apart = losses > 0
        losses = torch.where(apart, losses, 1.0).pow(alpha / 2).mul(apart)
    return reduce(losses, reduction, len(z1))


@objective
def uniformity(z: Tensor, *, t: Positive = 2.0, implementation: str = "auto") -> Tensor:
    """`log mean_{i<j} exp(-t |u_i - u_j|^2)`, u of unit length, over all pairs: [N, D] -> [], N >= 2.

    From 0 (all coincide) towards -2t (all orthogonal) and below; exact at any N, in memory linear in N. A zero row
    counts as orthogonal to all. The log of a mean, and no sum over samples: the share of a rank is that of the batch of
    all ranks, divided by the number of ranks. Raises DataError for fewer than two rows.
    """
    if z.dim() != 2 or len(z) < 2:
        raise ShapeError(f"Uniformity needs at least two embeddings [N, D], got shape {list(z.shape)}.")
    n = len(z)
    # |u_i - u_j|^2 = 2 - 2 u_i . u_j, and the mean over i < j is that over all ordered pairs.
    lse = self_lse(unit(z), scale=2 * t, implementation=implementation)
    return lse.logsumexp(0) - 2 * t - math.log(n * (n - 1))


class AlignmentLoss(LossModule, of=alignment):
    """`alignment` as a module: `AlignmentLoss(alpha=2.0)(z1, z2)`."""

    alpha: Positive = 2.0
    _: KW_ONLY
    reduction: MeanReduction = "mean"


class UniformityLoss(LossModule, of=uniformity):
    """`uniformity` as a module: `UniformityLoss(t=2.0)(z)`."""

    t: Positive = 2.0
