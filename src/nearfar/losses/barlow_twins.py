"""Barlow Twins: the cross-correlation of two views' dimensions is pushed to the identity.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021, eq. 1 and 2.
https://arxiv.org/abs/2103.03230
"""

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.losses.core.batch import check_several, refuse_gathering
from nearfar.losses.core.decorrelation import off_diagonal_square
from nearfar.losses.core.unit import wide


def barlow_twins(z1: Tensor, z2: Tensor, *, redundancy: float = 5e-3, eps: float = 1e-5) -> Tensor:
    """`sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2`, C the correlation of dimensions: [B, D] twice -> [].

    C_ij = cov(z1_i, z2_j) / sqrt((var z1_i + eps) (var z2_j + eps)), all over the batch of B >= 2, and variances
    divided by B. eps is that of the batch norm in the authors' code, and keeps the gradient of a dimension that
    (nearly) never changes finite; with 0 this is eq. 2 to the digit, and a dimension of variance 0 has correlation 0.
    From 0 up. Memory is a few times that of the inputs: C [D, D] is made in blocks.

    A statistic of the whole batch, and no sum over samples: the share of a rank is the loss of the batch of all ranks,
    divided by the number of ranks. Raises DataError for shapes that do not agree or one sample alone.
    """
    _check(redundancy, eps)
    check_several({"z1": z1, "z2": z2})
    with torch.autocast(z1.device.type, enabled=False):
        a, b = _standardised(wide(z1), eps), _standardised(wide(z2), eps)
        on_diagonal = (1 - (a * b).sum(0)).square().sum()
        return on_diagonal + redundancy * off_diagonal_square(a, b)


def _check(redundancy: float, eps: float) -> None:
    must(redundancy >= 0, "the weight of redundancy must be >= 0", got=redundancy)
    must(eps >= 0, "eps must be >= 0", got=eps)


def _standardised(z: Tensor, eps: float) -> Tensor:
    # Columns whose products are correlations: of mean 0, and of length 1 but for eps.
    centred = z - z.mean(0)
    energy = centred.square().sum(0) + len(z) * eps
    return centred * torch.where(energy > 0, energy, torch.inf).rsqrt()


class BarlowTwinsLoss(nn.Module):
    """`barlow_twins` as a module: `BarlowTwinsLoss(lambda_param=5e-3)(z_a, z_b)`.

    lambda_param is the weight of redundancy. Values are those of lightly's class of this name. gather_distributed is
    refused: see `barlow_twins` for ranks.
    """

    def __init__(self, lambda_param: float = 5e-3, gather_distributed: bool = False):
        super().__init__()
        refuse_gathering(gather_distributed)
        _check(lambda_param, 0.0)
        self.lambda_param = lambda_param

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        return barlow_twins(z_a, z_b, redundancy=self.lambda_param)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"lambda_param={self.lambda_param}"
