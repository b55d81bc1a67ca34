"""Debiased contrast: the samples of the anchor's own class that hide among its negatives are subtracted.

Chuang et al., "Debiased Contrastive Learning", 2020, eq. 7 and 8. https://arxiv.org/abs/2007.00224
"""

import math

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.kernels import softplus
from nearfar.losses.core.batch import inverse_temperature
from nearfar.losses.core.reduction import check_reduction, reduce
from nearfar.losses.core.views import Anchors


def debiased(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = 0.5,
    tau_plus: float = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: str = "mean",
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
    check_reduction(reduction, all_active=True)
    check_tau_plus(tau_plus)
    scale = inverse_temperature(temperature)
    with torch.autocast(z1.device.type, enabled=False):
        anchors = Anchors.of((z1, z2), ids, rows)
        lse = anchors.negatives_lse(scale, implementation)
        losses = debiased_cross_entropy(anchors, lse, scale, tau_plus)
        return reduce(losses.T, reduction, 2 * len(anchors.every))


def check_tau_plus(tau_plus: float) -> None:
    """Raise ConfigError unless it is a chance below 1."""
    must(0 <= tau_plus < 1, "tau_plus must be >= 0 and < 1", got=tau_plus)


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


class DebiasedLoss(nn.Module):
    """`debiased` as a module: `DebiasedLoss(temperature=0.5, tau_plus=0.1)(z1, z2)`."""

    def __init__(self, temperature: float = 0.5, tau_plus: float = 0.1, *, reduction: str = "mean"):
        super().__init__()
        inverse_temperature(temperature)
        check_tau_plus(tau_plus)
        check_reduction(reduction, all_active=True)
        self.temperature = temperature
        self.tau_plus = tau_plus
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        return debiased(
            z1, z2, temperature=self.temperature, tau_plus=self.tau_plus, ids=ids, reduction=self.reduction
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"temperature={self.temperature}, tau_plus={self.tau_plus}, reduction={self.reduction!r}"
