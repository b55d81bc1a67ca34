"""EMP-SSL: all patches of a picture agree with their mean, and each patch of the batch fills the space.

Tong et al., "EMP-SSL: Towards Self-Supervised Learning in One Training Epoch", 2023, eq. 2 to 4.
https://arxiv.org/abs/2304.03977
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.kernels import product
from nearfar.losses.core.batch import ShapeError, check_same_shape
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import NotNegative, Positive
from nearfar.losses.core.unit import unit, wide


@objective
def emp_ssl(views: Sequence[Tensor] | Tensor, *, eps: Positive = 0.2, invariance: NotNegative = 200.0) -> Tensor:
    """Minus the mean coding rate of the views, minus `invariance` times their mean cosine with the mean view.

    views: z_v [B, D] each, stacked or in a sequence, row i of sample i. The coding rate of a view is
    `logdet(I + D / (B eps) z_v^T z_v) / 2`, of embeddings as they are, which the paper makes unit vectors; eps is its
    epsilon squared, as in the authors' code. A statistic of the whole batch: the share of a rank is the loss of the
    batch of all ranks, divided by the number of ranks. Raises DataError for shapes that do not agree.
    """
    if len(views) == 0:
        raise ShapeError("EMP-SSL needs a view.")
    check_same_shape({f"views[{k}]": z for k, z in enumerate(views)})
    z = torch.stack([wide(view) for view in views])  # [v b d]
    _, b, d = z.shape
    gram = product(z.mT, z) if d <= b else product(z, z.mT)  # both have one determinant here
    rates: Tensor = (
        torch.linalg.slogdet(torch.eye(min(b, d), device=z.device, dtype=z.dtype) + d / (b * eps) * gram)[1] / 2
    )
    cosines = (unit(z) * unit(z.mean(0))).sum(-1)
    return -rates.mean() - invariance * cosines.mean()


class EMPSSLLoss(LossModule, of=emp_ssl):
    """`emp_ssl` as a module: `EMPSSLLoss(tcr_eps=0.2, inv_coef=200.0)(z_views)`.

    The coding rate is made large, as in the paper and the authors' code; lightly's class of this name adds it to the
    loss with the other sign, which makes it small.
    """

    tcr_eps: Positive = 0.2
    inv_coef: NotNegative = 200.0

    def forward(self, z_views: Sequence[Tensor]) -> Tensor:
        """The loss of views [B, D] each."""
        return self.compute(z_views, eps=self.tcr_eps, invariance=self.inv_coef)
