"""Debiased contrast: the samples of the anchor's own class that hide among its negatives are subtracted.

Chuang et al., "Debiased Contrastive Learning", 2020, eq. 7 and 8. https://arxiv.org/abs/2007.00224
"""

import math
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels import softplus
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Chance, Learned, MeanReduction
from nearfar.losses.core.views import Anchors


@objective
def debiased(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Learned = 0.5,
    tau_plus: Chance = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over all 2 * B views of `log(1 + g_i / e^{s_ip / t})`, p the other view, g_i the debiased sum of negatives.

    `g_i = max((sum_n e^{s_in / t} - tau_plus N e^{s_ip / t}) / (1 - tau_plus), N e^{-1 / t})` over the N = 2B - 2 views
    n of other samples; tau_plus in 0..1, below 1, is the chance that one of them is of the anchor's class. With
    tau_plus = 0 this is NT-Xent. z1, z2: [B, D], row i of sample i, of any length.

    ids [B], integers: samples of equal id are the same thing twice, and are no negatives of each other (N falls too).
    rows: the samples whose anchors are summed; the mean still divides by 2 * B, so that shares of disjoint rows sum to
    the whole. reduction "none" gives [2, rows]. Memory is linear in B; `implementation` is "auto", "tiled" or "dense".

    Raises DataError for shapes that do not agree, ConfigError for options out of range.
    """
    scale = 1 / temperature
    anchors = Anchors.of((z1, z2), ids, rows)
    lse = anchors.negatives_lse(scale, implementation)
    losses = debiased_cross_entropy(anchors, lse, scale, tau_plus)
    return reduce(losses.T, reduction, 2 * len(anchors.every))


def debiased_cross_entropy(anchors: Anchors, lse: Tensor, scale: float | Tensor, tau_plus: float) -> Tensor:
    """`log(1 + g / e^p)` of each anchor, `lse` the log of its sum over negatives, -inf where it has none: [rows v]."""
    positives = anchors.positives().squeeze(-1) * scale
    if tau_plus == 0:
        return softplus(lse - positives)
    none = lse == -torch.inf
    lse = lse.masked_fill(none, 0.0)
    log_count = anchors.negatives().clamp(min=1).log()  # [rows 1]
    # The logarithm of the part of the sum that is subtracted; from 0 on nothing is left, and the floor holds.
    part = positives + log_count + math.log(tau_plus) - lse
    part = part.masked_fill(part >= 0, -torch.inf)
    left = torch.where(part == -torch.inf, -torch.inf, lse + torch.log(-torch.expm1(part)) - math.log1p(-tau_plus))
    estimate = torch.maximum(left, log_count - scale).masked_fill(none, -torch.inf)
    return softplus(estimate - positives)


class DebiasedLoss(LossModule, of=debiased):
    """`debiased` as a module: `DebiasedLoss(temperature=0.5, tau_plus=0.1)(z1, z2)`."""

    temperature: Learned = 0.5
    tau_plus: Chance = 0.1
    _: KW_ONLY
    reduction: MeanReduction = "mean"
