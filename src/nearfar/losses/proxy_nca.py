"""Proxy-NCA: a sample must be nearer to its class's proxy than to the other proxies.

Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies", 2017, eq. 6.
https://arxiv.org/abs/1703.07464
Teh et al., "ProxyNCA++", 2020, eq. 6: a softmax over all proxies. https://arxiv.org/abs/2004.01113
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.errors import must
from nearfar.losses.core.classes import against_classes, class_vectors
from nearfar.losses.core.reduction import check_reduction, reduce


def proxy_nca(
    z: Tensor,
    proxies: Tensor,
    *,
    labels: Tensor,
    scale: float = 1.0,
    original: bool = False,
    rows: slice | None = None,
    reduction: str = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over samples of `-log softmax_k(-scale |x - p_k|^2)` at the sample's class, x and p of unit length.

    z [B, D], proxies [C, D] of any length, labels [B] in 0..C-1. With `original` the sum in the denominator leaves the
    sample's own proxy out, as the first paper has it: the loss can then be below 0. rows: the samples whose losses are
    summed, as shares of the whole; "none" gives [rows]. Memory is linear in B and in C; `implementation` is "auto",
    "tiled" or "dense".
    """
    check_reduction(reduction, all_active=True)
    _check(scale)
    must(not original or len(proxies) > 1, "original needs at least two proxies", got=len(proxies))
    with torch.autocast(z.device.type, enabled=False):
        found = against_classes(z, proxies, labels, rows)
        # |x - p|^2 = 2 - 2 x.p, and the constant cancels.
        own = 2 * scale * (found.samples * found.own_classes()).sum(-1)
        over = found.others_lse(2 * scale, implementation) - own
        return reduce(over if original else F.softplus(over, threshold=40), reduction, len(z))


def _check(scale: float) -> None:
    must(0 < scale < math.inf, "scale must be > 0", got=scale)


class ProxyNCALoss(nn.Module):
    """`proxy_nca` with its proxies: the parameter `proxies` [C, D], drawn evenly over the sphere.

    `ProxyNCALoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do.
    """

    def __init__(self, dim: int, classes: int, *, scale: float = 1.0, original: bool = False, reduction: str = "mean"):
        super().__init__()
        _check(scale)
        check_reduction(reduction, all_active=True)
        must(not original or classes > 1, "original needs at least two proxies", got=classes)
        self.proxies = class_vectors(dim, classes)
        self.scale = scale
        self.original = original
        self.reduction = reduction

    def forward(self, z: Tensor, *, labels: Tensor) -> Tensor:
        """The loss of z [B, D] of classes labels [B]."""
        return proxy_nca(
            z, self.proxies, labels=labels, scale=self.scale, original=self.original, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"scale={self.scale}, original={self.original}, reduction={self.reduction!r}"
