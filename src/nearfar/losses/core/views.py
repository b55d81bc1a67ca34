"""The views of a batch as rows of unit length, and which of them are anchors here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.kernels import Pairs, Ring, row_lse, self_lse
from nearfar.losses.core.batch import anchored, check_same_shape, group_numbers, part
from nearfar.losses.core.unit import shared_half, unit


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """All views of a batch, sample by sample, so that the views of own samples are one range of rows."""

    every: Tensor  # [b v d], of unit length; on a ring those of own samples
    u: Tensor  # [rows v d], the anchors
    samples: int  # of the whole batch
    own: slice  # the samples whose views are anchors here
    ids: Tensor | None  # [samples], equal for the same thing
    product: torch.dtype | None  # the half precision that all views came in
    ring: Ring | None

    @classmethod
    def of(cls, views: Sequence[Tensor], ids: Tensor | None, rows: slice | None, ring: Ring | None = None) -> "Anchors":
        """The anchors of views z1, z2, ... [B, D] each; raises ShapeError where shapes do not agree."""
        check_same_shape({f"z{k}": z for k, z in enumerate(views, 1)}, ring=ring)
        samples, own, here = anchored(rows, len(views[0]), ring)
        numbers = None if ids is None else group_numbers(ids, samples)
        every = unit(torch.stack(tuple(views), dim=1), overwrite=True)
        return cls(every, part(every, here), samples, own, numbers, shared_half(*views), ring)

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
        v = self.every.shape[1]
        every = torch.arange(self.samples, device=self.every.device, dtype=torch.int32)
        groups = (every if self.ids is None else self.ids).repeat_interleave(v)
        return Pairs(row_groups=groups[self.own.start * v : self.own.stop * v], column_groups=groups)

    def negatives(self) -> Tensor:
        """How many negatives the views of each own sample have: [rows 1]."""
        v = self.every.shape[1]
        if self.ids is None:
            return self.u.new_full((len(self.u), 1), (self.samples - 1) * v)
        same = torch.bincount(self.ids)[self.ids[self.own]]
        return (v * (self.samples - same)).unsqueeze(1).to(self.u.dtype)

    def others_lse(self, scale: float | Tensor, implementation: str) -> Tensor:
        """Log-sum-exp of each anchor's scaled similarities with all other views: [rows v]."""
        return self._lse(None, Pairs(self_column=self.own.start * self.every.shape[1]), scale, implementation)

    def negatives_lse(self, scale: float | Tensor, implementation: str) -> Tensor:
        """Log-sum-exp of each anchor's scaled similarities with its negatives, -inf where it has none: [rows v]."""
        pairs = self.pairs()
        return self._lse(pairs.column_groups, pairs, scale, implementation)

    def _lse(self, groups: Tensor | None, pairs: Pairs, scale: float | Tensor, implementation: str) -> Tensor:
        v = self.every.shape[1]
        if self.ring is None and self.own == slice(0, self.samples):  # one half of the matrix serves both
            lse = self_lse(self.flat, scale=scale, groups=groups, implementation=implementation, product=self.product)
        else:
            lse = row_lse(
                self.u.flatten(0, 1), self.flat, scale=scale, pairs=pairs, implementation=implementation,
                product=self.product, ring=None if self.ring is None else self.ring.times(v),
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
