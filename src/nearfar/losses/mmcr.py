"""MMCR: the mean views of all samples spread over as many directions as they can, the views of each over few.

Yerxa et al., "Learning Efficient Coding of Natural Images with Maximum Manifold Capacity Representations", 2023, eq. 5.
https://arxiv.org/abs/2303.03307
"""

from typing import Any

import torch
from torch import Tensor

from nearfar.kernels.second import no_second_derivative
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
        raise ShapeError(f"MMCR needs V views of B samples [B, V, D], got shape {list(z.shape)}.")
    z = unit(z) if normalize else wide(z)
    return weight * nuclear_norm(z).mean() - nuclear_norm(z.mean(1))


def nuclear_norm(z: Tensor) -> Tensor:
    """The sum of the singular values of each matrix: [..., M, N] -> [...]."""
    # What is not finite has no singular values, and is seen to by `objective`.
    norm: Tensor = _NuclearNorm.apply(torch.where(z.isfinite(), z, 0.0))
    return norm


class _NuclearNorm(torch.autograd.Function):
    # Its gradient is U V^T, finite where singular values are equal or 0 too.

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        u, values, vh = torch.linalg.svd(z, full_matrices=False)
        ctx.save_for_backward(z, u @ vh)
        sums: Tensor = values.sum(-1)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, direction = ctx.saved_tensors
        return no_second_derivative([grad[..., None, None] * direction], (z, grad))


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
