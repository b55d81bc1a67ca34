"""VICReg: views agree, every dimension varies, and no two dimensions say the same.

Bardes, Ponce & LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", 2022,
eq. 1 to 6 and algorithm 1. https://arxiv.org/abs/2105.04906
"""

import torch
from torch import Tensor

from nearfar.losses.core.batch import check_several
from nearfar.losses.core.decorrelation import off_diagonal_square
from nearfar.losses.core.gather import gathered, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import NotNegative, Positive
from nearfar.losses.core.unit import wide


@objective
def vicreg(
    z1: Tensor,
    z2: Tensor,
    *,
    invariance: NotNegative = 25.0,
    variance: NotNegative = 25.0,
    covariance: NotNegative = 1.0,
    eps: Positive = 1e-4,
) -> Tensor:
    """`invariance * s(z1, z2) + variance * (v(z1) + v(z2)) + covariance * (c(z1) + c(z2))`: [B, D] twice -> [].

    s: the mean square of z1 - z2 over samples and dimensions (algorithm 1; eq. 5 sums over dimensions).
    v: the mean over dimensions of max(0, 1 - sqrt(var + eps)); c: the sum of the squares of all covariances of two
    different dimensions, divided by D. Variances and covariances are over the batch of B >= 2, divided by B - 1.

    From 0 up; constant embeddings give 2 variance (1 - sqrt(eps)). The authors' code halves v(z1) + v(z2), which is
    `variance=12.5` here. Memory is a few times that of the inputs: covariances [D, D] are made in blocks.

    A statistic of the whole batch, and no sum over samples: the share of a rank is the loss of the batch of all ranks,
    divided by the number of ranks. Raises DataError for shapes that do not agree or one sample alone.
    """
    check_several({"z1": z1, "z2": z2})
    x, y = wide(z1), wide(z2)
    loss = invariance * (x - y).square().mean()
    for z in (x, y):
        centred = z - z.mean(0)
        spread = (centred.square().sum(0) / (len(z) - 1) + eps).sqrt()
        loss = loss + variance * (1 - spread).relu().mean()
        loss = loss + covariance * off_diagonal_square(centred) / ((len(z) - 1) ** 2 * z.shape[1])
    return loss


class VICRegLoss(LossModule, of=vicreg):
    """`vicreg` as a module: `VICRegLoss(lambda_param=25.0, mu_param=25.0, nu_param=1.0)(z_a, z_b)`.

    The weights are of invariance, variance and covariance. Values are those of lightly's class of this name and of the
    authors' code, where mu_param weighs the mean of v(z1) and v(z2), and not their sum as in `vicreg` and the paper.
    With gather_distributed it is the loss of the batch of all processes.
    """

    lambda_param: NotNegative = 25.0
    mu_param: NotNegative = 25.0
    nu_param: NotNegative = 1.0
    gather_distributed: bool = False
    eps: Positive = 1e-4

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views [B, D], row i of sample i; of [B, ..., D] the mean over places of each place's loss."""
        if self.gather_distributed and processes() > 1:
            z_a, z_b = gathered(z_a)[0], gathered(z_b)[0]
        pairs = [(z_a, z_b)]
        if z_a.dim() > 2 and z_a.shape == z_b.shape and z_a.numel() > 0:
            pairs = list(zip(z_a.flatten(1, -2).unbind(1), z_b.flatten(1, -2).unbind(1), strict=True))
        weights = {"invariance": self.lambda_param, "variance": self.mu_param / 2, "covariance": self.nu_param}
        return torch.stack([self.compute(x, y, **weights) for x, y in pairs]).mean()
