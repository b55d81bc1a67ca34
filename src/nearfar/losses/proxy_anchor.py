"""Proxy-Anchor: each proxy pulls the samples of its class and pushes all others, the hardest the most.

Kim et al., "Proxy Anchor Loss for Deep Metric Learning", 2020, eq. 4. https://arxiv.org/abs/2003.13911
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.errors import must
from nearfar.kernels import Pairs, row_lse
from nearfar.losses.core.classes import against_classes, class_vectors
from nearfar.losses.core.tuples import anchor_lse


def proxy_anchor(
    z: Tensor,
    proxies: Tensor,
    *,
    labels: Tensor,
    alpha: float = 32.0,
    margin: float = 0.1,
    implementation: str = "auto",
) -> Tensor:
    """`mean_k log(1 + sum_p exp(-alpha (s_kp - m)))` plus `mean_k log(1 + sum_n exp(alpha (s_kn + m)))`, k a proxy.

    The first mean is over the proxies that have positives p in the batch, the second over all, with their negatives n;
    s is the cosine, m the margin. z [B, D], proxies [C, D] of any length, labels [B] in 0..C-1. The logarithm joins the
    samples of a batch, so that there are no shares of samples and no reduction: where a batch is spread over ranks,
    each computes the whole and divides by their number. Memory is linear in B and in C; `implementation` is "auto",
    "tiled" or "dense".
    """
    _check(alpha, margin)
    with torch.autocast(z.device.type, enabled=False):
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


def _check(alpha: float, margin: float) -> None:
    must(alpha > 0, "alpha must be > 0", got=alpha)
    must(margin >= 0, "margin must be >= 0", got=margin)


class ProxyAnchorLoss(nn.Module):
    """`proxy_anchor` with its proxies: the parameter `proxies` [C, D], drawn evenly over the sphere.

    `ProxyAnchorLoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do (the
    paper gives them 100 times its learning rate).
    """

    def __init__(self, dim: int, classes: int, *, alpha: float = 32.0, margin: float = 0.1):
        super().__init__()
        _check(alpha, margin)
        self.proxies = class_vectors(dim, classes)
        self.alpha = alpha
        self.margin = margin

    def forward(self, z: Tensor, *, labels: Tensor) -> Tensor:
        """The loss of z [B, D] of classes labels [B]."""
        return proxy_anchor(z, self.proxies, labels=labels, alpha=self.alpha, margin=self.margin)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"alpha={self.alpha}, margin={self.margin}"
