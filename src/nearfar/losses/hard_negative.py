"""HCL: the debiased loss with negatives weighted by how near they are.

Robinson et al., "Contrastive Learning with Hard Negative Samples", 2021, section 3. https://arxiv.org/abs/2010.04592
"""

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.losses.core.batch import inverse_temperature
from nearfar.losses.core.reduction import check_reduction, reduce
from nearfar.losses.core.views import Anchors
from nearfar.losses.debiased import check_tau_plus, debiased_cross_entropy


def hcl(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = 0.5,
    tau_plus: float = 0.1,
    beta: float = 1.0,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: str = "mean",
    implementation: str = "auto",
) -> Tensor:
    """`debiased` with `N sum_n w_n e^{s_in / t}` for its sum over negatives, `w = softmax_n(beta s_in / t)`.

    beta >= 0 is the concentration: 0 weighs all negatives alike and is `debiased`, and with tau_plus = 0 too NT-Xent;
    as it grows the nearest negative stands for all N. Gradients pass through the weights, as in the authors' code.
    Shapes, options and errors as in `debiased`; two log-sum-exps over the negatives, so twice its time.
    """
    check_reduction(reduction, all_active=True)
    check_tau_plus(tau_plus)
    must(0 <= beta < float("inf"), "beta must be >= 0", got=beta)
    scale = inverse_temperature(temperature)
    with torch.autocast(z1.device.type, enabled=False):
        anchors = Anchors.of((z1, z2), ids, rows)
        lse = anchors.negatives_lse(scale * (1 + beta), implementation)
        if beta > 0:
            mass = anchors.negatives_lse(scale * beta, implementation)
            lse = lse - mass.masked_fill(mass == -torch.inf, 0.0) + anchors.negatives().log()
        losses = debiased_cross_entropy(anchors, lse, scale, tau_plus)
        return reduce(losses.T, reduction, 2 * len(anchors.every))


class HCLLoss(nn.Module):
    """`hcl` as a module: `HCLLoss(temperature=0.5, tau_plus=0.1, beta=1.0)(z1, z2)`."""

    def __init__(
        self, temperature: float = 0.5, tau_plus: float = 0.1, beta: float = 1.0, *, reduction: str = "mean"
    ):  # fmt: skip
        super().__init__()
        inverse_temperature(temperature)
        check_tau_plus(tau_plus)
        must(0 <= beta < float("inf"), "beta must be >= 0", got=beta)
        check_reduction(reduction, all_active=True)
        self.temperature = temperature
        self.tau_plus = tau_plus
        self.beta = beta
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        return hcl(
            z1, z2, temperature=self.temperature, tau_plus=self.tau_plus, beta=self.beta, ids=ids,
            reduction=self.reduction,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"temperature={self.temperature}, tau_plus={self.tau_plus}, beta={self.beta}, reduction={self.reduction!r}"
        )
