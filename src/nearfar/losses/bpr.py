"""BPR: a user's own item must score above items that are not.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", 2009, section 4.1.
https://arxiv.org/abs/1205.2618
"""

from dataclasses import KW_ONLY

from torch import Tensor
from torch.nn import functional as F

from nearfar.losses.core.batch import ShapeError, check_same_shape, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import MeanReduction
from nearfar.losses.core.unit import wide


@objective
def bpr(
    users: Tensor, positives: Tensor, negatives: Tensor, *, rows: slice | None = None, reduction: MeanReduction = "mean"
) -> Tensor:
    """Mean of `-log sigmoid(u . i+ - u . i-)` over users and their negatives: [B, D], [B, D], [B, (K,) D] -> [].

    Scores are dot products, of embeddings as they are: their length counts. negatives: one of each user [B, D], or K
    [B, K, D]. Computed as `softplus(u . i- - u . i+)`, which the worst pairs leave with their whole gradient, where
    `log(sigmoid + constant)` would flatten it. Where both items score alike the loss is log 2.

    rows: the users whose losses are summed; the mean still divides by all B (times K), so that shares of disjoint rows
    sum to the whole. reduction "none" gives [rows], or [rows, K]. Raises DataError for shapes that do not agree.
    """
    check_same_shape({"users": users, "positives": positives})
    b, d = users.shape
    if negatives.dim() not in (2, 3) or len(negatives) != b or negatives.shape[-1] != d or negatives.numel() == 0:
        raise ShapeError(f"negatives must be [{b}, {d}] or [{b}, K, {d}], K >= 1, got shape {list(negatives.shape)}.")
    own = own_rows(rows, b)
    u, positive, negative = (wide(part(z, own)) for z in (users, positives, negatives))
    if negative.dim() == 3:
        u, positive = u.unsqueeze(1), positive.unsqueeze(1)
    losses = F.softplus((u * (negative - positive)).sum(-1))  # [rows], [rows K]
    return reduce(losses, reduction, negatives.shape[:-1].numel())


class BPRLoss(LossModule, of=bpr):
    """`bpr` as a module: `BPRLoss()(users, positives, negatives)`."""

    _: KW_ONLY
    reduction: MeanReduction = "mean"
