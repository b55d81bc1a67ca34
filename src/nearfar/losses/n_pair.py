"""N-pair: each anchor must find its positive among the positives of all pairs, by plain dot products.

Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", 2016, eq. 7 (N-pair-mc).
"""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels import Pairs, row_lse
from nearfar.losses.core.batch import check_same_shape, group_numbers, own_rows, part
from nearfar.losses.core.distance import preparation
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import MeanReduction


@objective
def n_pair(
    anchors: Tensor,
    positives: Tensor,
    *,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over anchors of `log(1 + sum_{j != i} exp(a_i . p_j - a_i . p_i))`: [B, D], [B, D] -> [].

    Embeddings are taken as they are and there is no temperature: their lengths are learned, and the paper adds a
    penalty on them, which is the caller's to add. The paper has one pair a class; with ids [B], integers, pairs of
    equal id are no negatives of each other. rows, reduction and implementation: as in `info_nce`.

    Where all embeddings coincide the loss is log B. Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    check_same_shape({"anchors": anchors, "positives": positives})
    b = len(anchors)
    own = own_rows(rows, b)
    groups = None if ids is None else group_numbers(ids, b)
    prepare = preparation("euclidean", normalize=False)
    a, p = part(prepare(anchors), own), prepare(positives)
    pairs = Pairs(row_groups=None if groups is None else groups[own], column_groups=groups)
    lse = row_lse(a, p, pairs=pairs, implementation=implementation)
    positive = (a * part(p, own)).sum(-1)
    if groups is not None:
        # Equal ids left the kernel's sum together with the pair itself: that comes back.
        lse = torch.logaddexp(lse, positive)
    return reduce(lse - positive, reduction, b)


class NPairLoss(LossModule, of=n_pair):
    """`n_pair` as a module: `NPairLoss()(anchors, positives)`."""

    _: KW_ONLY
    reduction: MeanReduction = "mean"
