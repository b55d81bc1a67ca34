"""Pearson: cosines of pairs must rise and fall with the scores that people give them.

One less the correlation that the STS tasks judge by (Agirre et al., "SemEval-2012 Task 6", 2012), taken as a loss.
"""

import torch
from torch import Tensor

from nearfar.losses.core.batch import check_same_shape
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.unit import unit
from nearfar.losses.cosent import check_scores


@objective
def pearson(z1: Tensor, z2: Tensor, *, scores: Tensor) -> Tensor:
    """`1 - r`, r the correlation of the cosines of `z1[i]` and `z2[i]` with `scores`: [B, D], [B, D], [B] -> [].

    From 0, where the cosines are a rising line of the scores, to 2; scores may have any scale and offset. 1 where all
    cosines or all scores are equal, as for a single pair.

    A statistic of the whole batch, and no sum over samples: the share of a rank is the loss of the batch of all ranks,
    divided by the number of ranks. Raises DataError for shapes that do not agree.
    """
    check_same_shape({"z1": z1, "z2": z2})
    cosines = (unit(z1) * unit(z2)).sum(1)
    wanted = check_scores(scores, len(z1)).detach().to(cosines)
    x, y = cosines - cosines.mean(), wanted - wanted.mean()
    product = x.square().sum() * y.square().sum()
    # The root of 0 has no finite slope; there, r is 0 whatever it is divided by.
    return 1 - (x * y).sum() / torch.where(product > 0, product, 1.0).sqrt()


class PearsonLoss(LossModule, of=pearson):
    """`pearson` as a module: `PearsonLoss()(z1, z2, scores)`."""

    def forward(self, z1: Tensor, z2: Tensor, scores: Tensor) -> Tensor:
        """The loss of pairs of embeddings [B, D], row i of one pair, and how alike they are [B]."""
        return self.compute(z1, z2, scores=scores)
