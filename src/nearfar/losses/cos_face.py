"""CosFace: classification by cosines, where a sample must be nearer to its class by a margin in the cosine.

Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, eq. 4.
https://arxiv.org/abs/1801.09414
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.errors import must
from nearfar.losses.core.classes import against_classes, class_vectors
from nearfar.losses.core.reduction import check_reduction, reduce


def cos_face(
    z: Tensor,
    weight: Tensor,
    *,
    labels: Tensor,
    scale: float = 64.0,
    margin: float = 0.35,
    rows: slice | None = None,
    reduction: str = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean cross-entropy of `scale * cos` over classes, with `margin` taken from the cosine of a sample's own class.

    z [B, D], weight [C, D], labels [B], rows, reduction and implementation: as in `arc_face`; memory is linear in B and
    in C. With margin 0 it is the softmax of scaled cosines.
    """
    check_reduction(reduction, all_active=True)
    _check(scale, margin)
    with torch.autocast(z.device.type, enabled=False):
        found = against_classes(z, weight, labels, rows)
        cosine = (found.samples * found.own_classes()).sum(-1)
        losses = F.softplus(found.others_lse(scale, implementation) - scale * (cosine - margin), threshold=40)
        return reduce(losses, reduction, len(z))


def _check(scale: float, margin: float) -> None:
    must(0 < scale < math.inf, "scale must be > 0", got=scale)
    must(0 <= margin < 2, "margin must lie in 0..2", got=margin)


class CosFaceLoss(nn.Module):
    """`cos_face` with its class vectors: the parameter `weight` [C, D], drawn evenly over the sphere.

    `CosFaceLoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do.
    """

    def __init__(self, dim: int, classes: int, *, scale: float = 64.0, margin: float = 0.35, reduction: str = "mean"):
        super().__init__()
        _check(scale, margin)
        check_reduction(reduction, all_active=True)
        self.weight = class_vectors(dim, classes)
        self.scale = scale
        self.margin = margin
        self.reduction = reduction

    def forward(self, z: Tensor, *, labels: Tensor) -> Tensor:
        """The loss of z [B, D] of classes labels [B]."""
        return cos_face(z, self.weight, labels=labels, scale=self.scale, margin=self.margin, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"scale={self.scale}, margin={self.margin}, reduction={self.reduction!r}"
