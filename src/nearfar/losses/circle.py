"""Circle: each similarity is weighed by how far it is from where it should be.

Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", 2020, eq. 6 to 8.
https://arxiv.org/abs/2002.10857
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import must
from nearfar.kernels import masked_logsumexp, row_scores
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Chance, Positive, Reduction
from nearfar.losses.core.tuples import anchor_lse, check_indices, columns_of, products
from nearfar.losses.core.unit import unit


@objective
def circle(
    z: Tensor,
    *,
    labels: Tensor | None = None,
    pairs: Sequence[Tensor] | None = None,
    margin: Chance = 0.25,
    gamma: Positive = 256.0,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    rows: slice | None = None,
    reduction: Reduction = "mean_active",
    implementation: str = "auto",
) -> Tensor:
    """Mean over anchors that have both of `log(1 + sum_n exp(l_n) sum_p exp(l_p))`, l the weighed similarities.

    `l_n = gamma [s_n + m]_+ (s_n - m)` and `l_p = -gamma [1 + m - s_p]_+ (s_p - (1 - m))`, s the cosine, m the margin;
    gradients do not pass through the weights [.]_+. z, labels, reference, offset and rows: see `core/labelled.py`; or,
    without labels, pairs `(a1, p, a2, n)` of indices.

    Anchors without a positive or without a negative have loss 0 and are left out of the mean ("mean_active"); "mean"
    divides by all anchors, "none" gives [rows]. Memory is linear in the batch; `implementation` is "auto", "tiled" or
    "dense".
    """

    def pull(s: Tensor) -> Tensor:
        return -gamma * (1 + margin - s.detach()).relu() * (s - (1 - margin))

    def push(s: Tensor) -> Tensor:
        return gamma * (s.detach() + margin).relu() * (s - margin)

    if pairs is not None:
        must(labels is None and rows is None, "pairs come without labels and without rows", got=(labels, rows))
        anchors, columns = columns_of(z, reference, unit)
        check_indices("pairs", pairs, (len(anchors), len(columns)) * 2)
        a1, p, a2, n = pairs
        pulls = anchor_lse(pull(products(anchors, columns, a1, p)), a1, len(anchors))
        pushes = anchor_lse(push(products(anchors, columns, a2, n)), a2, len(anchors))
        active = (pulls.isfinite() & pushes.isfinite()).count_nonzero()
        return reduce(F.softplus(pulls + pushes, threshold=40), reduction, len(z), active)
    must(labels is not None, "Give labels, or pairs", got=labels)
    assert labels is not None
    found = compare(z, labels, reference, reference_labels, offset, rows, unit)

    def score(similarities: Tensor, at: slice) -> Tensor:
        positive, negative = found.masks(at)
        kinds = (push(similarities), negative), (pull(similarities), positive)
        pushes, pulls = (masked_logsumexp(logits.masked_fill(~mask, -torch.inf), 1) for logits, mask in kinds)
        return F.softplus(pushes + pulls, threshold=40)

    losses = row_scores(score, found.rows, found.columns, implementation=implementation)
    positives, negatives = found.counts()
    return reduce(losses, reduction, len(z), ((positives > 0) & (negatives > 0)).count_nonzero())


class CircleLoss(LossModule, of=circle):
    """`circle` as a module: `CircleLoss(margin=0.25, gamma=256)(z, labels=labels)`."""

    margin: Chance = 0.25
    gamma: Positive = 256.0
    _: KW_ONLY
    reduction: Reduction = "mean_active"
