"""Contrastive cross-entropy: an anchor must find its positive among the negatives that were chosen for it.

The softmax loss of van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4, over
an explicit set of candidates. https://arxiv.org/abs/1807.03748
"""

import torch
from torch import Tensor, nn

from nearfar.errors import ConfigError, DataError
from nearfar.losses.core.batch import check_same_shape, inverse_temperature, own_rows, part
from nearfar.losses.core.reduction import check_reduction, reduce
from nearfar.losses.core.unit import unit


def contrastive_cross_entropy(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    valid: Tensor | None = None,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over anchors of `-log(e^{s_ip / t} / (e^{s_ip / t} + sum_k e^{s_ik / t}))`, s cosine.

    anchors, positives: [B, D], row i of each together; negatives: the anchors' own [B, K, D], K >= 0; of any length.
    Every candidate of an anchor, its positive with them, stands in the denominator; the rest of the batch does not
    (with `info_nce` it does). valid [B, K], booleans: False where an anchor has fewer than K negatives.

    rows: the anchors whose losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the
    whole. reduction "none" gives [rows]. Where all embeddings coincide the loss is log(K + 1). Raises DataError for
    shapes that do not agree, ConfigError for options out of range.
    """
    check_reduction(reduction, all_active=True)
    check_same_shape({"anchors": anchors, "positives": positives})
    b, d = anchors.shape
    if negatives.dim() != 3 or negatives.shape[::2] != (b, d):
        raise DataError(f"negatives must be [{b}, K, {d}], K of each anchor, got shape {list(negatives.shape)}.")
    if valid is not None and valid.dtype != torch.bool:
        raise ConfigError(f"valid must be a tensor of booleans, got {valid.dtype}.")
    if valid is not None and valid.shape != negatives.shape[:2]:
        raise DataError(f"valid must be {list(negatives.shape[:2])}, got shape {list(valid.shape)}.")
    scale = inverse_temperature(temperature)
    own = own_rows(rows, b)
    with torch.autocast(anchors.device.type, enabled=False):
        u = unit(part(anchors, own))
        positive = (u * unit(part(positives, own))).sum(-1, keepdim=True) * scale  # [rows 1]
        others = (unit(part(negatives, own)) @ u.unsqueeze(-1)).squeeze(-1) * scale  # [rows K]
        if valid is not None:
            others = others.masked_fill(~valid[own], -torch.inf)
        losses = torch.cat([positive, others], dim=1).logsumexp(1) - positive.squeeze(1)
        return reduce(losses, reduction, b)


class ContrastiveCrossEntropyLoss(nn.Module):
    """`contrastive_cross_entropy` as a module: `...(temperature=0.1)(anchors, positives, negatives)`."""

    def __init__(self, temperature: float = 0.1, *, reduction: str = "mean"):
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction, all_active=True)
        self.temperature = temperature
        self.reduction = reduction

    def forward(self, anchors: Tensor, positives: Tensor, negatives: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """The loss of anchors and positives [B, D] and the anchors' own negatives [B, K, D]."""
        return contrastive_cross_entropy(
            anchors, positives, negatives, temperature=self.temperature, valid=valid, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"temperature={self.temperature}, reduction={self.reduction!r}"
