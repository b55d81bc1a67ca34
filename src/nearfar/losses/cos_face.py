"""CosFace: classification by cosines, where a sample must be nearer to its class by a margin in the cosine.

Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, eq. 4.
https://arxiv.org/abs/1801.09414
"""

from dataclasses import KW_ONLY
from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from nearfar.losses.core.classes import ClassModule, against_classes
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction, Number

CosineMargin = Annotated[float, Number("must lie in 0..2", lambda x: 0 <= x < 2)]


@objective
def cos_face(
    z: Tensor,
    weight: Tensor,
    *,
    labels: Tensor,
    scale: Learned = 64.0,
    margin: CosineMargin = 0.35,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean cross-entropy of `scale * cos` over classes, with `margin` taken from the cosine of a sample's own class.

    z [B, D], weight [C, D], labels [B], rows, reduction and implementation: as in `arc_face`; memory is linear in B and
    in C. With margin 0 it is the softmax of scaled cosines.
    """
    found = against_classes(z, weight, labels, rows)
    cosine = (found.samples * found.own_classes()).sum(-1)
    losses = F.softplus(found.others_lse(scale, implementation) - scale * (cosine - margin), threshold=40)
    return reduce(losses, reduction, len(z))


class CosFaceLoss(ClassModule, of=cos_face):
    """`cos_face` with its class vectors: the parameter `weight` [C, D], drawn evenly over the sphere.

    `CosFaceLoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do.
    """

    parameter = "weight"
    _: KW_ONLY
    scale: Learned = 64.0
    margin: CosineMargin = 0.35
    reduction: MeanReduction = "mean"
