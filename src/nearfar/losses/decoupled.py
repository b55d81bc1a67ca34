"""DCL: NT-Xent without the positive in its denominator, so that easy positives do not quieten the negatives.

Yeh et al., "Decoupled Contrastive Learning", 2022, eq. 6, and its form with von
Mises-Fisher weights (DCLW). https://arxiv.org/abs/2110.06848
"""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import torch
from torch import Tensor

from nearfar.losses.core.batch import ShapeError, check_same_shape
from nearfar.losses.core.gather import of_all_processes, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import checked, objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction, Positive
from nearfar.losses.core.unit import unit
from nearfar.losses.core.views import Anchors


@objective
def dcl(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Learned = 0.1,
    weights: Tensor | None = None,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over all 2 * B views of `LSE_n(s_in / t) - w_i s_ip / t`, p the other view, n the views of other samples.

    z1, z2: [B, D], row i of sample i, of any length. weights, 1 by default: [B], or [2, B] where the two views differ.
    The loss can be negative; a view without any negative (one sample alone) counts as 0.

    ids [B], integers: samples of equal id are the same thing twice, and are no negatives of each other. rows: the
    samples whose anchors are summed; the mean still divides by 2 * B, so that shares of disjoint rows sum to the whole.
    reduction "none" gives [2, rows]. Memory is linear in B; `implementation` is "auto", "tiled" or "dense".

    Where all views coincide the loss is log(2B - 2). Raises DataError for shapes that do not agree,
    ConfigError for options out of range.
    """
    scale = 1 / temperature
    anchors = Anchors.of((z1, z2), ids, rows)
    b = len(anchors.every)
    pull = anchors.positives().squeeze(-1) * scale  # [rows v]
    if weights is not None:
        if weights.shape not in ((b,), (2, b)):
            raise ShapeError(f"weights must be [{b}] or [2, {b}], got shape {list(weights.shape)}.")
        pull = pull * weights.expand(2, b).T[anchors.own].to(pull)
    lse = anchors.negatives_lse(scale, implementation)
    losses = torch.where(lse == -torch.inf, 0.0, lse - pull)
    return reduce(losses.T, reduction, 2 * b)


@objective
def dclw(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Learned = 0.1,
    sigma: Positive = 0.5,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """`dcl` with `mises_fisher_weights`: positives that are already near weigh less.

    Shapes and options as in `dcl`; the weights are those of the whole batch, whatever `rows` are.
    """
    check_same_shape({"z1": z1, "z2": z2})
    weights = mises_fisher_weights(z1, z2, sigma=sigma)
    return dcl(
        z1, z2, temperature=temperature, weights=weights, ids=ids, rows=rows, reduction=reduction,
        implementation=implementation,
    )  # fmt: skip


@torch.no_grad()
@checked
def mises_fisher_weights(z1: Tensor, z2: Tensor, *, sigma: Positive = 0.5) -> Tensor:
    """`2 - B softmax_i(s_i / sigma)`, s_i the cosine of the two views of sample i: [B, D], [B, D] -> [B].

    Their mean is 1; sigma > 0. They are constants: gradients do not pass.
    """
    with torch.autocast(z1.device.type, enabled=False):
        similarities = (unit(z1) * unit(z2)).sum(-1)
        return 2 - len(z1) * (similarities / sigma).softmax(0)


class DCLLoss(LossModule, of=dcl):
    """`dcl` as a module, with the arguments of lightly's class of this name: `DCLLoss(temperature=0.1)(z1, z2)`.

    weight_fn takes two views of unit length [B, D] and gives the weights [B] of the first as anchors. With
    gather_distributed, samples of all processes are negatives.
    """

    temperature: Learned = 0.1
    weight_fn: Callable[[Tensor, Tensor], Tensor] | None = None
    gather_distributed: bool = False
    _: KW_ONLY
    reduction: MeanReduction = "mean"

    def forward(self, out0: Tensor, out1: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        if self.gather_distributed and processes() > 1:
            return of_all_processes(self._weighed, (out0, out1), ids=ids, reduction=self.reduction)
        return self._weighed(out0, out1, ids=ids)

    def _weighed(self, out0: Tensor, out1: Tensor, **options: Any) -> Tensor:
        weights = None
        if self.weight_fn is not None:
            check_same_shape({"out0": out0, "out1": out1})
            u1, u2 = unit(out0), unit(out1)
            weights = torch.stack([self.weight_fn(u1, u2), self.weight_fn(u2, u1)])
        return self.compute(out0, out1, weights=weights, **options)


class DCLWLoss(LossModule, of=dclw):
    """`dclw` as a module: `DCLWLoss(temperature=0.1, sigma=0.5)(z1, z2)`.

    With gather_distributed, samples of all processes are negatives, and weights are those of the whole batch, where
    lightly's are those of each process.
    """

    temperature: Learned = 0.1
    sigma: Positive = 0.5
    gather_distributed: bool = False
    _: KW_ONLY
    reduction: MeanReduction = "mean"

    def forward(self, out0: Tensor, out1: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of two views [B, D], row i of sample i."""
        if self.gather_distributed and processes() > 1:
            return of_all_processes(self.compute, (out0, out1), ids=ids, reduction=self.reduction)
        return self.compute(out0, out1, ids=ids)
