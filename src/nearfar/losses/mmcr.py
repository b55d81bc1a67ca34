"""MMCR: the mean views of all samples spread over as many directions as they can, the views of each over few.

Yerxa et al., "Learning Efficient Coding of Natural Images with Maximum Manifold Capacity Representations", 2023, eq. 5.
https://arxiv.org/abs/2303.03307
"""

import torch
from torch import Tensor

from nearfar.losses.core.batch import ShapeError
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import NotNegative
from nearfar.losses.core.unit import unit, wide


@objective
def mmcr(z: Tensor, *, weight: NotNegative = 5e-3, normalize: bool = True) -> Tensor:
    """`-|C|_* + weight mean_b |z_b|_*`, C the mean views, |.|_* the sum of singular values: z [B, V, D] -> [].

    V views of each of B samples, of unit length with normalize, as in the paper. A statistic of the whole batch: the
    share of a rank is the loss of the batch of all ranks, divided by the number of ranks. Raises DataError for another
    shape.
    """
    if z.dim() != 3 or z.numel() == 0:
        raise ShapeError(f"MMCR takes V views of B samples [B, V, D], got shape {list(z.shape)}.")
    z = unit(z) if normalize else wide(z)
    each: Tensor = torch.linalg.svdvals(z).sum(-1).mean()
    return weight * each - torch.linalg.svdvals(z.mean(1)).sum()


class MMCRLoss(LossModule, of=mmcr):
    """`mmcr` as a module: `MMCRLoss(lmda=5e-3)(online, momentum)`, with lightly's values: embeddings as they are."""

    lmda: NotNegative = 5e-3

    def forward(self, online: Tensor, momentum: Tensor) -> Tensor:
        """The loss of views [B, V, D] of two networks."""
        if online.shape != momentum.shape:
            raise ShapeError(
                f"online and momentum must have one shape, got {list(online.shape)}, {list(momentum.shape)}."
            )
        return self.compute(torch.cat([online, momentum], dim=1), weight=self.lmda, normalize=False)
