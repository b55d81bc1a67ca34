"""Proxy-NCA: a sample must be nearer to its class's proxy than to the other proxies.

Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies", 2017, eq. 6.
https://arxiv.org/abs/1703.07464
Teh et al., "ProxyNCA++", 2020, eq. 6: a softmax over all proxies. https://arxiv.org/abs/2004.01113
"""

from dataclasses import KW_ONLY

from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import must
from nearfar.losses.core.classes import ClassModule, against_classes
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction


@objective
def proxy_nca(
    z: Tensor,
    proxies: Tensor,
    *,
    labels: Tensor,
    scale: Learned = 1.0,
    original: bool = False,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over samples of `-log softmax_k(-scale |x - p_k|^2)` at the sample's class, x and p of unit length.

    z [B, D], proxies [C, D] of any length, labels [B] in 0..C-1. With `original` the sum in the denominator leaves the
    sample's own proxy out, as the first paper has it: the loss can then be below 0. rows: the samples whose losses are
    summed, as shares of the whole; "none" gives [rows]. Memory is linear in B and in C; `implementation` is "auto",
    "tiled" or "dense".
    """
    must(not original or len(proxies) > 1, "original needs at least two proxies", got=len(proxies))
    found = against_classes(z, proxies, labels, rows)
    # |x - p|^2 = 2 - 2 x.p, and the constant cancels.
    own = 2 * scale * (found.samples * found.own_classes()).sum(-1)
    over = found.others_lse(2 * scale, implementation) - own
    return reduce(over if original else F.softplus(over, threshold=40), reduction, len(z))


class ProxyNCALoss(ClassModule, of=proxy_nca):
    """`proxy_nca` with its proxies: the parameter `proxies` [C, D], drawn evenly over the sphere.

    `ProxyNCALoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do.
    """

    parameter = "proxies"
    _: KW_ONLY
    scale: Learned = 1.0
    original: bool = False
    reduction: MeanReduction = "mean"
