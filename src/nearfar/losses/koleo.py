"""KoLeo: each embedding is pushed from its nearest neighbour, so that a batch spreads over the sphere.

Sablayrolles et al., "Spreading Vectors for Similarity Search", 2019, section 3.3 (the estimator of differential
entropy of Kozachenko and Leonenko). https://arxiv.org/abs/1806.03198
"""

from typing import Annotated

import torch
from torch import Tensor

from nearfar.kernels import Pairs, extremes
from nearfar.losses.core.batch import ShapeError, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import MeanReduction, Number, Positive
from nearfar.losses.core.unit import unit

NormOrder = Annotated[float, Number("must be >= 1 and finite", lambda x: 1 <= x < float("inf"))]


@objective
def koleo(
    z: Tensor, *, p: NormOrder = 2.0, eps: Positive = 1e-8, rows: slice | None = None, reduction: MeanReduction = "mean"
) -> Tensor:
    """Mean of `-log(|u_i - u_j|_p + eps)`, u of unit length and u_j the nearest to u_i by cosine: [N, D] -> [], N >= 2.

    From -log 2 (p = 2, two opposite rows) to -log eps (each has a duplicate); coinciding rows get no gradient from each
    other. Of equally near rows the first is taken; float32 does not order neighbours nearer than about 3e-4.

    rows: the samples whose losses are summed, their neighbours being sought among all; the mean still divides by N, so
    that shares of disjoint rows sum to the whole. reduction "none" gives [rows]. Memory is linear in N. Raises
    DataError for fewer than two rows.
    """
    if z.dim() != 2 or len(z) < 2:
        raise ShapeError(f"KoLeo needs at least two embeddings [N, D], got shape {list(z.shape)}.")
    own = own_rows(rows, len(z))
    u = unit(z)
    nearest = extremes(part(u, own), u, pairs=Pairs(own.start)).columns
    apart = part(u, own) - u.index_select(0, nearest)
    distances = torch.linalg.vector_norm(apart, p, dim=1)  # its derivative at 0 is 0
    return reduce(-(distances + eps).log(), reduction, len(z))


class KoLeoLoss(LossModule, of=koleo):
    """`koleo` as a module: `KoLeoLoss(p=2, eps=1e-8)(x)`.

    Values are those of lightly's class of this name to about eps over the distance: there, eps is also added to each
    coordinate of the difference, which gives duplicates a distance of eps sqrt(D) and a gradient of 1 / eps.
    """

    p: NormOrder = 2.0
    eps: Positive = 1e-8

    def forward(self, x: Tensor) -> Tensor:
        """The loss of embeddings [N, D]."""
        return self.compute(x)
