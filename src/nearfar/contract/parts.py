"""What a sample is made of: what can be taken away from it, and what each part adds to its features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The P parts of one sample, in their order; P may be 0 where nothing can be taken away.

    `names` [P] say what each is. `without` gives the inputs of m samples, each of which has lost the parts that are
    False in its row of the bool tensor `[m, P]`; a row of True gives the sample that is explained.
    `terms` `[P, dim]` are what the parts add to the encoder's features, which are exactly their sum; None where
    features are no such sum. `tokens` `[P, d]` are vectors of the parts that can be compared with each other instead.
    Parts that tile an area, row after row, say its `grid` (rows, columns) and what it looks like, `backdrop` uint8
    `[h, w, 3]`. Others are listed; `running` says whether their names are read in one line, as words are. `note` says
    what else matters.
    """

    names: Sequence[str]
    without: Callable[[Tensor], Inputs]
    terms: Tensor | None = None
    tokens: Tensor | None = None
    grid: tuple[int, int] | None = None
    backdrop: NDArray[np.uint8] | None = None
    running: bool = False
    note: str = ""

    def __len__(self) -> int:
        return len(self.names)


def completed(terms: Tensor, features: Tensor) -> Tensor:
    """Terms `[P, d]` whose sum is `features` [d]: what belongs to no part is shared equally among all."""
    return terms + (features - terms.sum(0)) / len(terms)


def through(terms: Tensor, affine: Callable[[Tensor], Tensor]) -> Tensor:
    """Terms `[P, d]` of x as terms `[P, d']` of `affine(x)`; its constant is shared equally among all."""
    constant = affine(torch.zeros_like(terms[:1]))
    return affine(terms) - constant * (1 - 1 / len(terms))


def packed(values: Tensor, kept: Tensor, filler: float = 0) -> tuple[Tensor, Tensor]:
    """The `values` `[t, ...]` that are `kept` `[m, t]`, in their order, and how many they are [m].

    They are `[m, t, ...]`, with `filler` behind the last one.
    """
    lengths = kept.sum(1)
    found = values[(~kept).to(torch.uint8).argsort(dim=1, stable=True)]
    behind = torch.arange(len(values), device=kept.device) >= lengths[:, None]
    return found.masked_fill(behind.reshape(*behind.shape, *(1,) * (values.ndim - 1)), filler), lengths


def overlaps(cells: int, wanted: int) -> Tensor:
    """How much of each of `cells` equal pieces of a length lies in each of `wanted` ones: `[wanted, cells]`.

    Columns sum to 1.
    """
    start = torch.arange(wanted, dtype=torch.float64)[:, None] / wanted
    at = torch.arange(cells, dtype=torch.float64) / cells
    inside = torch.minimum(start + 1 / wanted, at + 1 / cells) - torch.maximum(start, at)
    return (inside.clamp_min(0) * cells).float()


def on_grid(terms: Tensor, grid: tuple[int, int]) -> Tensor:
    """Terms of the cells of a map `[h, w, d]` as terms of those of a `grid`, row after row: `[P, d]`.

    A cell that lies in several is parted by area, so that the sum stays.
    """
    rows, columns = (overlaps(size, wanted).to(terms) for size, wanted in zip(terms.shape[:2], grid, strict=True))
    return torch.einsum("rh,cw,hwd->rcd", rows, columns, terms).flatten(0, 1)
