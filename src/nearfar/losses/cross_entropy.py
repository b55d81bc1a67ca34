"""Contrastive cross-entropy: an anchor must find its positive among the negatives that were chosen for it.

The softmax loss of van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4, over
an explicit set of candidates. https://arxiv.org/abs/1807.03748
"""

from dataclasses import KW_ONLY
from functools import partial

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.kernels import product
from nearfar.losses.core.batch import ShapeError, check_same_shape, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction
from nearfar.losses.core.unit import unit


@partial(objective, padded=("negatives",))
def contrastive_cross_entropy(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: Learned = 0.1,
    valid: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
) -> Tensor:
    """Mean over anchors of `-log(e^{s_ip / t} / (e^{s_ip / t} + sum_k e^{s_ik / t}))`, s cosine.

    anchors, positives: [B, D], row i of each together; negatives: the anchors' own [B, K, D], K >= 0; of any length.
    Every candidate of an anchor, its positive with them, stands in the denominator; the rest of the batch does not
    (with `info_nce` it does). valid [B, K], booleans: False where an anchor has fewer than K negatives.

    rows: the anchors whose losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the
    whole. reduction "none" gives [rows]. Where all embeddings coincide the loss is log(K + 1). Raises DataError for
    shapes that do not agree, ConfigError for options out of range.
    """
    check_same_shape({"anchors": anchors, "positives": positives})
    b, d = anchors.shape
    if negatives.dim() != 3 or negatives.shape[::2] != (b, d):
        raise ShapeError(f"negatives must be [{b}, K, {d}], K of each anchor, got shape {list(negatives.shape)}.")
    if valid is not None and valid.dtype != torch.bool:
        raise ConfigError(f"valid must be a tensor of booleans, got {valid.dtype}.")
    if valid is not None and valid.shape != negatives.shape[:2]:
        raise ShapeError(f"valid must be {list(negatives.shape[:2])}, got shape {list(valid.shape)}.")
    scale = 1 / temperature
    own = own_rows(rows, b)
    u = unit(part(anchors, own))
    positive = (u * unit(part(positives, own))).sum(-1, keepdim=True) * scale  # [rows 1]
    negatives = part(negatives, own)
    if valid is not None:  # what stands in places that do not count may be anything
        negatives = negatives.masked_fill(~valid[own].unsqueeze(-1), 0.0)
    others = product(unit(negatives), u.unsqueeze(-1)).squeeze(-1) * scale  # [rows K]
    if valid is not None:
        others = others.masked_fill(~valid[own], -torch.inf)
    losses = torch.cat([positive, others], dim=1).logsumexp(1) - positive.squeeze(1)
    return reduce(losses, reduction, b)


class ContrastiveCrossEntropyLoss(LossModule, of=contrastive_cross_entropy):
    """`contrastive_cross_entropy` as a module: `...(temperature=0.1)(anchors, positives, negatives)`."""

    temperature: Learned = 0.1
    _: KW_ONLY
    reduction: MeanReduction = "mean"
