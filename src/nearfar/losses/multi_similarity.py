"""Multi-similarity: similar positives and dissimilar negatives weigh little, and each is weighed against its like.

Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", 2019, eq. 15.
https://arxiv.org/abs/1904.06627
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import must
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Finite, Positive, Reduction
from nearfar.losses.core.tuples import anchor_lse, check_indices, columns_of, products
from nearfar.losses.core.unit import unit


@objective
def multi_similarity(
    z: Tensor,
    *,
    labels: Tensor | None = None,
    pairs: Sequence[Tensor] | None = None,
    alpha: Positive = 2.0,
    beta: Positive = 50.0,
    base: Finite = 0.5,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    rows: slice | None = None,
    reduction: Reduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over anchors of what their positives p and their negatives n cost, each kind by a log-sum-exp of its own.

    That is `log(1 + sum_p exp(-alpha (s_p - base))) / alpha + log(1 + sum_n exp(beta (s_n - base))) / beta`, s the
    cosine. z, labels, reference, offset and rows: see `core/labelled.py`; or, without labels, pairs
    `(a1, p, a2, n)` of indices, as the paper's miner gives them (`mining.multi_similarity_pairs`).

    "mean" divides by all anchors, as the paper: one without a positive has the second term alone. "mean_active" divides
    by the anchors that have a pair; "none" gives [rows]. Memory is linear in the batch; `implementation` is "auto",
    "tiled" or "dense".
    """
    if pairs is not None:
        must(labels is None and rows is None, "pairs come without labels and without rows", got=(labels, rows))
        anchors, columns = columns_of(z, reference, unit)
        check_indices("pairs", pairs, (len(anchors), len(columns)) * 2)
        a1, p, a2, n = pairs
        pulls = anchor_lse(-alpha * products(anchors, columns, a1, p), a1, len(anchors))
        pushes = anchor_lse(beta * products(anchors, columns, a2, n), a2, len(anchors))
        active = (pulls.isfinite() | pushes.isfinite()).count_nonzero()
    else:
        must(labels is not None, "Give labels, or pairs", got=labels)
        assert labels is not None
        found = compare(z, labels, reference, reference_labels, offset, rows, unit)
        pulls = found.lse(-alpha, "same", implementation)
        pushes = found.lse(beta, "different", implementation)
        positives, negatives = found.counts()
        active = (positives + negatives).count_nonzero()
    pulls = _softplus(pulls + alpha * base) / alpha
    pushes = _softplus(pushes - beta * base) / beta
    return reduce(pulls + pushes, reduction, len(z), active)


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=40)


class MultiSimilarityLoss(LossModule, of=multi_similarity):
    """`multi_similarity` as a module: `MultiSimilarityLoss(2, 50, 0.5)(z, labels=labels)`."""

    alpha: Positive = 2.0
    beta: Positive = 50.0
    base: Finite = 0.5
    _: KW_ONLY
    reduction: Reduction = "mean"
