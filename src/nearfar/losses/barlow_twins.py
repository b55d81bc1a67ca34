"""Barlow Twins: the cross-correlation of two views' dimensions is pushed to the identity.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021, eq. 1 and 2.
https://arxiv.org/abs/2103.03230
"""

import torch
from torch import Tensor

from nearfar.losses.core.batch import check_several
from nearfar.losses.core.decorrelation import off_diagonal_square
from nearfar.losses.core.gather import gathered, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import NotNegative
from nearfar.losses.core.unit import wide


@objective
def barlow_twins(z1: Tensor, z2: Tensor, *, redundancy: NotNegative = 5e-3, eps: NotNegative = 1e-5) -> Tensor:
    """`sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2`, C the correlation of dimensions: [B, D] twice -> [].

    C_ij = cov(z1_i, z2_j) / sqrt((var z1_i + eps) (var z2_j + eps)), all over the batch of B >= 2, and variances
    divided by B. eps is that of the batch norm in the authors' code, and keeps the gradient of a dimension that
    (nearly) never changes finite; with 0 this is eq. 2 to the digit, and a dimension of variance 0 has correlation 0.
    From 0 up. Memory is a few times that of the inputs: C [D, D] is made in blocks.

    A statistic of the whole batch, and no sum over samples: the share of a rank is the loss of the batch of all ranks,
    divided by the number of ranks. Raises DataError for shapes that do not agree or one sample alone.
    """
    check_several({"z1": z1, "z2": z2})
    a, b = _standardised(wide(z1), eps), _standardised(wide(z2), eps)
    on_diagonal = (1 - (a * b).sum(0)).square().sum()
    return on_diagonal + redundancy * off_diagonal_square(a, b)


def _standardised(z: Tensor, eps: float) -> Tensor:
    # Columns whose products are correlations: of mean 0, and of length 1 but for eps.
    centred = z - z.mean(0)
    energy = centred.square().sum(0) + len(z) * eps
    return centred * torch.where(energy > 0, energy, torch.inf).rsqrt()


class BarlowTwinsLoss(LossModule, of=barlow_twins):
    """`barlow_twins` as a module: `BarlowTwinsLoss(lambda_param=5e-3)(z_a, z_b)`.

    lambda_param is the weight of redundancy. Values are those of lightly's class of this name; with gather_distributed
    they are those of the batch of all processes, where lightly standardises each process by itself.
    """

    lambda_param: NotNegative = 5e-3
    gather_distributed: bool = False

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        if self.gather_distributed and processes() > 1:
            z_a, z_b = gathered(z_a)[0], gathered(z_b)[0]
        return self.compute(z_a, z_b, redundancy=self.lambda_param)
