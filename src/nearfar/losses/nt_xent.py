"""NT-Xent: each view of a sample must find the sample's other views among all views of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, eq. 1.
https://arxiv.org/abs/2002.05709
"""

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.kernels import Pairs, row_lse, self_lse
from nearfar.losses.batch import check_same_shape, group_numbers, inverse_temperature, own_rows, part
from nearfar.losses.reduction import check_reduction, reduce
from nearfar.losses.unit import shared_half, unit


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    *more: Tensor,
    temperature: float | Tensor = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: str = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over all v * B views of `LSE_{a != i}(s_ia / t) - mean_p s_ip / t`, s cosine, p the sample's other views.

    Views are [B, D] each, row i of sample i, of any length (a zero row counts as orthogonal to all, and gets gradient
    0); `nt_xent(*z)` takes v views stacked as [v, B, D]. With two views this is eq. 1 of the paper; with more, all
    other views of the sample stand in the denominator and the log is inside the mean (L_out of Khosla et al. 2020,
    2004.11362, with samples as classes).

    ids [B], integers: samples of equal id are the same thing twice, and are no negatives of each other. rows: the
    samples whose anchors are summed; the mean still divides by all v * B, so that shares of disjoint rows sum to the
    whole. reduction "none" gives [v, rows]. Memory is linear in B; `implementation` is "auto", "dense", "tiled" or
    "triton", which multiplies views in the half precision that all of them come in (`kernels.triton_lse`: its error).

    Where all views coincide the loss is log(vB - 1). Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    check_reduction(reduction, all_active=True)
    views = (z1, z2, *more)
    check_same_shape({f"z{k}": z for k, z in enumerate(views, 1)})
    scale = inverse_temperature(temperature)
    v, b = len(views), len(z1)
    own = own_rows(rows, b)
    groups = None if ids is None else group_numbers(ids, b).repeat_interleave(v)
    product = shared_half(*views)

    with torch.autocast(z1.device.type, enabled=False):
        # Sample by sample, so that the views of own samples are one range of rows.
        u = unit(torch.stack(views, dim=1), overwrite=True)  # [b v d]
        every = u.flatten(0, 1)  # [bv d]
        mine = part(u, own)
        if mine is u:
            lse = self_lse(every, scale=scale, groups=groups, implementation=implementation, product=product)
        else:
            at = slice(own.start * v, own.stop * v)
            pairs = Pairs(at.start, None if groups is None else groups[at], groups)
            lse = row_lse(
                mine.flatten(0, 1), every, scale=scale, pairs=pairs, implementation=implementation, product=product
            )
        lse = lse.view(-1, v)  # [rows v]
        positives = _positives(mine) * scale  # [rows v v-1]
        if groups is not None:
            # Equal ids left the kernel's sum together with the sample's own views: those come back.
            lse = torch.cat([lse.unsqueeze(-1), positives], dim=-1).logsumexp(-1)
        losses = lse - positives.mean(-1)
        return reduce(losses.T, reduction, b * v)


def _positives(u: Tensor) -> Tensor:
    """Similarities of each view with the other views of its sample: [b v d] -> [b v v-1]."""
    b, v, _ = u.shape
    others = ~torch.eye(v, dtype=torch.bool, device=u.device)
    gram: Tensor = _Gram.apply(u)
    return gram[:, others].view(b, v, v - 1)


class _Gram(torch.autograd.Function):
    # u @ u.mT, with one product and one tensor of the size of u in the backward pass instead of two and three.

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return torch.bmm(u, u.mT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        with torch.autocast(u.device.type, enabled=False):
            return torch.bmm(grad + grad.mT, u)


class NTXentLoss(nn.Module):
    """`nt_xent` as a module: `NTXentLoss(temperature=0.1)(z1, z2)`, or with more views."""

    def __init__(self, temperature: float = 0.1, *, reduction: str = "mean"):
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction, all_active=True)
        self.temperature = temperature
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor, *more: Tensor, ids: Tensor | None = None) -> Tensor:
        """The loss of views [B, D] each, row i of sample i."""
        return nt_xent(z1, z2, *more, temperature=self.temperature, ids=ids, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"temperature={self.temperature}, reduction={self.reduction!r}"
