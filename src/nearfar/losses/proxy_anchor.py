"""Proxy-Anchor: each proxy pulls the samples of its class and pushes all others, the hardest the most.

Kim et al., "Proxy Anchor Loss for Deep Metric Learning", 2020, eq. 4. https://arxiv.org/abs/2003.13911
"""

from dataclasses import KW_ONLY

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.kernels import Pairs, row_lse
from nearfar.losses.core.classes import ClassModule, against_classes
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import NotNegative, Positive
from nearfar.losses.core.tuples import anchor_lse


@objective
def proxy_anchor(
    z: Tensor,
    proxies: Tensor,
    *,
    labels: Tensor,
    alpha: Positive = 32.0,
    margin: NotNegative = 0.1,
    implementation: str = "auto",
) -> Tensor:
    """`mean_k log(1 + sum_p exp(-alpha (s_kp - m)))` plus `mean_k log(1 + sum_n exp(alpha (s_kn + m)))`, k a proxy.

    The first mean is over the proxies that have positives p in the batch, the second over all, with their negatives n;
    s is the cosine, m the margin. z [B, D], proxies [C, D] of any length, labels [B] in 0..C-1. The logarithm joins the
    samples of a batch, so that there are no shares of samples and no reduction: where a batch is spread over ranks,
    each computes the whole and divides by their number. Memory is linear in B and in C; `implementation` is "auto",
    "tiled" or "dense".
    """
    found = against_classes(z, proxies, labels)
    classes = len(proxies)
    own = (found.samples * found.own_classes()).sum(-1)
    pulls = anchor_lse(-alpha * own, found.labels, classes) + alpha * margin
    numbers = torch.arange(classes, device=z.device)
    pairs = Pairs(None, numbers, found.labels)
    pushes = row_lse(found.classes, found.samples, scale=alpha, pairs=pairs, implementation=implementation)
    present = torch.bincount(found.labels, minlength=classes).count_nonzero()
    pull, push = (F.softplus(x, threshold=40).sum() for x in (pulls, pushes + alpha * margin))
    return pull / present + push / classes


class ProxyAnchorLoss(ClassModule, of=proxy_anchor):
    """`proxy_anchor` with its proxies: the parameter `proxies` [C, D], drawn evenly over the sphere.

    `ProxyAnchorLoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do (the
    paper gives them 100 times its learning rate).
    """

    parameter = "proxies"
    _: KW_ONLY
    alpha: Positive = 32.0
    margin: NotNegative = 0.1
