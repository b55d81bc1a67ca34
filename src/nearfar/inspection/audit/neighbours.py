"""The nearest others of each sample, found once for all rankings; of equal vectors, one stands for all."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.evaluation.knn import nearest

MOST = 50


@dataclass(frozen=True)
class Neighbours:
    """Of N samples: `first` [U] are those of different vectors, `same` [N] the place among them of each sample.

    `similarities` [U, k] and `rows` [U, k], places among the U, are those of the nearest others.
    """

    first: NDArray[np.int64]
    same: NDArray[np.int64]
    similarities: Tensor
    rows: Tensor

    @property
    def k(self) -> int:
        """How many there are of each."""
        return self.similarities.shape[1]


def neighbours(vectors: Tensor, k: int = MOST) -> Neighbours:
    """The `k` nearest others of each of the different vectors `[N, D]`; fewer where there are no more."""
    rows = np.ascontiguousarray(vectors.detach().cpu().float().numpy()) + 0.0  # no negative zeros
    _, first, same = np.unique(rows.view(f"V{max(rows.shape[1], 1) * 4}")[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first, same = first[order], place[same]
    if len(first) < 2:
        return Neighbours(first, same, torch.empty(len(first), 0), torch.empty(len(first), 0, dtype=torch.long))
    some = vectors[torch.from_numpy(first)]
    return Neighbours(first, same, *nearest(some, some, k, exclude_self=True))
