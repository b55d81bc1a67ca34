"""The views of a batch as rows of unit length, and which of them are anchors here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.kernels import Pairs, row_lse, self_lse
from nearfar.losses.parts.batch import check_same_shape, group_numbers, own_rows, part
from nearfar.losses.parts.unit import shared_half, unit


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """All views of a batch, sample by sample, so that the views of own samples are one range of rows."""

    every: Tensor  # [b v d], of unit length
    u: Tensor  # [rows v d], the anchors
    own: slice  # the samples whose views are anchors here
    ids: Tensor | None  # [b], equal for the same thing
    product: torch.dtype | None  # the half precision that all views came in

    @classmethod
    def of(cls, views: Sequence[Tensor], ids: Tensor | None, rows: slice | None) -> "Anchors":
        """The anchors of views z1, z2, ... [B, D] each; raises DataError where shapes do not agree."""
        check_same_shape({f"z{k}": z for k, z in enumerate(views, 1)})
        b = len(views[0])
        numbers = None if ids is None else group_numbers(ids, b)
        every, own = unit(torch.stack(tuple(views), dim=1), overwrite=True), own_rows(rows, b)
        return cls(every, part(every, own), own, numbers, shared_half(*views))

    @property
    def flat(self) -> Tensor:
        """All views: [bv d]."""
        return self.every.flatten(0, 1)

    def positives(self) -> Tensor:
        """Similarities of each view with the other views of its sample: [rows v v-1]."""
        b, v, _ = self.u.shape
        others = ~torch.eye(v, dtype=torch.bool, device=self.u.device)
        gram: Tensor = _Gram.apply(self.u)
        return gram[:, others].view(b, v, v - 1)

    def pairs(self) -> Pairs:
        """Anchors [rows * v] and their negatives among all views: those of other samples, ids being other too."""
        b, v, _ = self.every.shape
        samples = torch.arange(b, device=self.every.device, dtype=torch.int32) if self.ids is None else self.ids
        groups = samples.repeat_interleave(v)
        return Pairs(row_groups=groups[self.own.start * v : self.own.stop * v], column_groups=groups)

    def negatives(self) -> Tensor:
        """How many negatives the views of each own sample have: [rows 1]."""
        b, v, _ = self.every.shape
        if self.ids is None:
            return self.u.new_full((len(self.u), 1), (b - 1) * v)
        same = torch.bincount(self.ids)[self.ids[self.own]]
        return (v * (b - same)).unsqueeze(1).to(self.u.dtype)

    def others_lse(self, scale: float | Tensor, implementation: str) -> Tensor:
        """Log-sum-exp of each anchor's scaled similarities with all other views: [rows v]."""
        return self._lse(None, Pairs(self_column=self.own.start * self.every.shape[1]), scale, implementation)

    def negatives_lse(self, scale: float | Tensor, implementation: str) -> Tensor:
        """Log-sum-exp of each anchor's scaled similarities with its negatives, -inf where it has none: [rows v]."""
        pairs = self.pairs()
        return self._lse(pairs.column_groups, pairs, scale, implementation)

    def _lse(self, groups: Tensor | None, pairs: Pairs, scale: float | Tensor, implementation: str) -> Tensor:
        b, v, _ = self.every.shape
        if self.own == slice(0, b):  # one half of the matrix serves both
            lse = self_lse(self.flat, scale=scale, groups=groups, implementation=implementation, product=self.product)
        else:
            lse = row_lse(
                self.u.flatten(0, 1), self.flat, scale=scale, pairs=pairs, implementation=implementation,
                product=self.product,
            )  # fmt: skip
        return lse.view(-1, v)


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
