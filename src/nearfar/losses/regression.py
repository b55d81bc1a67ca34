"""BYOL and SimSiam: the prediction of one view is drawn to the target of another, without negatives.

Grill et al., "Bootstrap Your Own Latent", 2020, eq. 2. https://arxiv.org/abs/2006.07733
Chen & He, "Exploring Simple Siamese Representation Learning", 2021, eq. 1 to 4. https://arxiv.org/abs/2011.10566
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.losses.core.batch import ShapeError, check_same_shape, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import MeanReduction, NotNegative
from nearfar.losses.core.unit import unit, wide

Views = Sequence[Tensor] | Tensor


@objective
def negative_cosine(
    predictions: Tensor, targets: Tensor, *, rows: slice | None = None, reduction: MeanReduction = "mean"
) -> Tensor:
    """Mean of minus the cosine of a prediction and its target, SimSiam eq. 1: [B, D], [B, D] -> [].

    Targets get no gradient: the stop-gradient is inside. From -1 to 1; a zero row has cosine 0 and gradient 0. rows:
    the samples whose losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the whole.
    reduction "none" gives [rows]. Raises DataError for shapes that do not agree.
    """
    check_same_shape({"predictions": predictions, "targets": targets})
    b = len(predictions)
    own = own_rows(rows, b)
    return reduce(-(unit(part(predictions, own)) * unit(part(targets.detach(), own))).sum(-1), reduction, b)


@objective
def simsiam(
    predictions: Views, targets: Views, *, rows: slice | None = None, reduction: MeanReduction = "mean"
) -> Tensor:
    """The symmetric `negative_cosine`, SimSiam eq. 2 to 4: v views [B, D] each, stacked or in a sequence -> [].

    The mean over all pairs of the prediction of one view and the target of another; for two views this is half of
    each direction. Targets get no gradient. From -1 to 1. rows as in `negative_cosine`, the mean divides by v * B;
    reduction "none" gives [v, rows], for each prediction the mean over targets of other views.
    """
    cosines, count = _other_views(predictions, targets, rows)
    return reduce(-cosines, reduction, count)


@objective
def byol(predictions: Views, targets: Views, *, rows: slice | None = None, reduction: MeanReduction = "mean") -> Tensor:
    """`2 - 2 cos` of prediction and target, both directions summed, BYOL eq. 2: v views [B, D] each -> [].

    `2 - 2 cos` is the squared distance of the two at length 1. As `4 + 4 simsiam`: with more than two views, twice the
    mean over all pairs of different views. Targets get no gradient. From 0 to 8. rows as in `simsiam`; reduction
    "none" gives [v, rows], whose mean is the loss.
    """
    cosines, count = _other_views(predictions, targets, rows)
    return reduce(4 - 4 * cosines, reduction, count)


def _other_views(predictions: Views, targets: Views, rows: slice | None) -> tuple[Tensor, int]:
    """The mean cosine of each prediction with the targets of other views [v rows], and v * B."""
    v = len(predictions)
    if v < 2 or len(targets) != v:
        raise ShapeError(
            f"predictions and targets must be the same two views or more, got {v} predictions and {len(targets)} "
            "targets."
        )
    named = {f"predictions[{k}]": z for k, z in enumerate(predictions)}
    check_same_shape(named | {f"targets[{k}]": z for k, z in enumerate(targets)})
    b = len(predictions[0])
    own = own_rows(rows, b)
    with torch.autocast(predictions[0].device.type, enabled=False):
        p = unit(torch.stack([part(z, own) for z in predictions]))  # [v rows D]
        z = unit(torch.stack([part(z.detach(), own) for z in targets]))
        others = [torch.stack([z[w] for w in range(v) if w != k]).mean(0) for k in range(v)]
        return (p * torch.stack(others)).sum(-1), v * b


class NegativeCosineSimilarity(LossModule):
    """Minus the mean cosine of two tensors: `NegativeCosineSimilarity()(p0, z1)`, as lightly's class of this name.

    As there, neither argument is special: either may be the target, and whoever calls detaches it. `negative_cosine`
    detaches its targets itself. dim is the dimension of the embedding; vectors shorter than eps count as 0.
    """

    dim: int = 1
    eps: NotNegative = 1e-8

    def forward(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Minus the mean cosine of x0 and x1, of one shape."""
        if x0.shape != x1.shape or not -x0.dim() <= self.dim < x0.dim() or x0.numel() == 0:
            raise ShapeError(
                f"x0 and x1 must have one shape, with samples and a dimension {self.dim}, got {list(x0.shape)} and "
                f"{list(x1.shape)}."
            )
        return _minus_cosine(x0.movedim(self.dim, -1), x1.movedim(self.dim, -1), self.eps)


@objective
def _minus_cosine(x: Tensor, y: Tensor, eps: float) -> Tensor:
    x, y = wide(x), wide(y)
    short = (x.detach().norm(dim=-1) < eps) | (y.detach().norm(dim=-1) < eps)
    return -(unit(x) * unit(y)).sum(-1).masked_fill(short, 0.0).mean()


class SimSiamLoss(LossModule, of=simsiam):
    """`simsiam` as a module: `SimSiamLoss()([p1, p2], [z1, z2])`."""

    _: KW_ONLY
    reduction: MeanReduction = "mean"


class BYOLLoss(LossModule, of=byol):
    """`byol` as a module: `BYOLLoss()([p1, p2], [z1, z2])`."""

    _: KW_ONLY
    reduction: MeanReduction = "mean"
