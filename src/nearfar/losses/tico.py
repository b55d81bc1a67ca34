"""TiCo: views agree, and embeddings keep away from the directions that are full already.

Zhu et al., "TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual Representation
Learning", 2022, eq. 6 and algorithm 1. https://arxiv.org/abs/2206.10698
"""

import torch
from torch import Tensor

from nearfar.kernels import product
from nearfar.losses.core.batch import ShapeError, check_embeddings, check_several
from nearfar.losses.core.gather import gathered, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import checked, objective
from nearfar.losses.core.settings import Fraction, NotNegative
from nearfar.losses.core.unit import unit


@objective
def tico(z1: Tensor, z2: Tensor, *, covariance: Tensor, rho: NotNegative = 8.0) -> Tensor:
    """`mean_i (1 - u1_i . u2_i) + rho mean_i u1_i^T C u1_i`, u of unit length: [B, D], [B, D], C [D, D] -> [].

    covariance C is that of the first views so far, this batch with them (`tico_covariance`), and gets no gradient. From
    0 up. A statistic of the whole batch: the share of a rank is the loss of the batch of all ranks, divided by the
    number of ranks. Raises DataError for shapes that do not agree or one sample alone.
    """
    check_several({"z1": z1, "z2": z2})
    if covariance.shape != (z1.shape[1],) * 2:
        raise ShapeError(f"covariance must be {[z1.shape[1]] * 2}, got shape {list(covariance.shape)}.")
    u1, u2 = unit(z1), unit(z2)
    spread = (product(u1, covariance.detach().to(u1)) * u1).sum(1).mean()
    return 1 - (u1 * u2).sum(1).mean() + rho * spread


@torch.no_grad()
@checked
def tico_covariance(covariance: Tensor | None, z: Tensor, *, beta: Fraction = 0.9) -> Tensor:
    """The covariance after a batch of first views z [B, D]: `beta C + (1 - beta) u^T u / B` [D, D]; None is 0."""
    check_embeddings("z", z)
    with torch.autocast(z.device.type, enabled=False):
        u = unit(z)
        batch = (1 - beta) * u.T @ u / len(u)
        return batch if covariance is None else beta * covariance.to(u) + batch


class TiCoLoss(LossModule, of=tico):
    """`tico` with a covariance of its own, `C`: `TiCoLoss(beta=0.9, rho=8.0)(z_a, z_b)`, with lightly's values.

    Each call moves C unless it is told not to; C is saved with the state. With gather_distributed the batch is that of
    all processes.
    """

    beta: Fraction = 0.9
    rho: NotNegative = 8.0
    gather_distributed: bool = False

    def __post_init__(self) -> None:
        """Begin without a covariance."""
        self.check_settings()
        self.C: Tensor | None = None

    def forward(self, z_a: Tensor, z_b: Tensor, update_covariance_matrix: bool = True) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        check_several({"z_a": z_a, "z_b": z_b})
        if self.gather_distributed and processes() > 1:
            z_a, z_b = gathered(z_a)[0], gathered(z_b)[0]
        covariance = tico_covariance(self.C, z_a, beta=self.beta)
        if update_covariance_matrix:
            self.C = covariance
        return self.compute(z_a, z_b, covariance=covariance)

    def get_extra_state(self) -> Tensor | None:
        """The covariance."""
        return self.C

    def set_extra_state(self, state: Tensor | None) -> None:
        """Go on from there."""
        self.C = state
