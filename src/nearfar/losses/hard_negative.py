"""HCL: the debiased loss with negatives weighted by how near they are.

Robinson et al., "Contrastive Learning with Hard Negative Samples", 2021, section 3. https://arxiv.org/abs/2010.04592
"""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Chance, Learned, MeanReduction, NotNegative
from nearfar.losses.core.views import Anchors
from nearfar.losses.debiased import debiased_cross_entropy


@objective
def hcl(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Learned = 0.5,
    tau_plus: Chance = 0.1,
    beta: NotNegative = 1.0,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """`debiased` with `N sum_n w_n e^{s_in / t}` for its sum over negatives, `w = softmax_n(beta s_in / t)`.

    beta >= 0 is the concentration: 0 weighs all negatives alike and is `debiased`, and with tau_plus = 0 too NT-Xent;
    as it grows the nearest negative stands for all N. Gradients pass through the weights, as in the authors' code.
    Shapes, options and errors as in `debiased`; two log-sum-exps over the negatives, so twice its time.
    """
    scale = 1 / temperature
    anchors = Anchors.of((z1, z2), ids, rows)
    lse = anchors.negatives_lse(scale * (1 + beta), implementation)
    if beta > 0:
        mass = anchors.negatives_lse(scale * beta, implementation)
        lse = lse - mass.masked_fill(mass == -torch.inf, 0.0) + anchors.negatives().log()
    losses = debiased_cross_entropy(anchors, lse, scale, tau_plus)
    return reduce(losses.T, reduction, 2 * len(anchors.every))


class HCLLoss(LossModule, of=hcl):
    """`hcl` as a module: `HCLLoss(temperature=0.5, tau_plus=0.1, beta=1.0)(z1, z2)`."""

    temperature: Learned = 0.5
    tau_plus: Chance = 0.1
    beta: NotNegative = 1.0
    _: KW_ONLY
    reduction: MeanReduction = "mean"
