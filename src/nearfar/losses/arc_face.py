"""ArcFace: classification by cosines, where a sample must be nearer to its class by an angle.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, eq. 3.
https://arxiv.org/abs/1801.07698
"""

import math
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.losses.core.classes import ClassModule, against_classes
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction, Number

Angle = Annotated[float, Number("must be radians in 0..pi", lambda x: 0 <= x < math.pi)]


@objective
def arc_face(
    z: Tensor,
    weight: Tensor,
    *,
    labels: Tensor,
    scale: Learned = 64.0,
    margin: Angle = 0.5,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean cross-entropy of `scale * cos(angle)` over classes, `margin` added to the angle of a sample's own class.

    z [B, D], weight [C, D], a vector for each class, both of any length; labels [B] in 0..C-1; margin in radians.
    Where angle and margin pass pi, cos(angle) - margin * sin(margin) stands in, which keeps falling. rows: the samples
    whose losses are summed, as shares of the whole; "none" gives [rows].

    The B x C cosines are never held: memory is linear in B and in C; `implementation` is "auto", "tiled" or "dense".
    With a single class the loss is 0. Raises DataError for shapes and labels that do not fit, ConfigError for options
    out of range.
    """
    found = against_classes(z, weight, labels, rows)
    own = found.own_classes()
    cosine = (found.samples * own).sum(-1)
    # The sine as the length of what the sample has across its class: exact at small angles, where the root of
    # 1 - cos^2 is not, and with a gradient that stays finite.
    across = (found.samples - cosine.unsqueeze(-1) * own).square().sum(-1)
    apart = across > 0
    sine = torch.where(apart, across, 1.0).sqrt() * apart
    inside = cosine >= -math.cos(margin)
    moved = torch.where(inside, cosine * math.cos(margin) - sine * math.sin(margin),
                        cosine - margin * math.sin(margin))  # fmt: skip
    losses = F.softplus(found.others_lse(scale, implementation) - scale * moved, threshold=40)
    return reduce(losses, reduction, len(z))


class ArcFaceLoss(ClassModule, of=arc_face):
    """`arc_face` with its class vectors: the parameter `weight` [C, D], drawn evenly over the sphere.

    `ArcFaceLoss(dim, classes)(z, labels=labels)`; its parameters belong to an optimiser, as the encoder's do.
    """

    parameter = "weight"
    _: KW_ONLY
    scale: Learned = 64.0
    margin: Angle = 0.5
    reduction: MeanReduction = "mean"
