"""Margin contrastive: similar pairs are pulled together, the others pushed apart until a margin.

Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006, eq. 4 (its Y = 0 means similar).
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.losses.core.batch import ShapeError, check_same_shape, own_rows
from nearfar.losses.core.distance import distance_scores, index_distances, pair_distances, preparation
from nearfar.losses.core.labelled import Labelled, compare
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Distance, NotNegative, NumberReduction, Positive, Reduction
from nearfar.losses.core.tuples import check_indices, columns_of


@objective
def contrastive(
    z1: Tensor,
    z2: Tensor,
    *,
    similar: Tensor,
    margin: Positive = 1.0,
    positive_margin: NotNegative = 0.0,
    squared: bool = True,
    distance: Distance = "euclidean",
    normalize: bool = True,
    rows: slice | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over given pairs of `d^2 / 2` where similar, else `max(0, margin - d)^2 / 2`, d their distance.

    z1, z2: [B, D], row i of the same pair; similar [B], true (or 1) where the pair belongs together. distance is
    "euclidean", "squared_euclidean" or "cosine" (1 - cos); with normalize False the Euclidean ones are of embeddings
    as they are, as in the paper. With squared False terms are neither squared nor halved. positive_margin: similar
    pairs nearer than this are let be. rows: the pairs whose losses are summed, as shares of the whole.

    "mean_active" divides by the pairs of loss above 0; "none" gives [rows]. Pairs at distance 0 get gradient 0. Raises
    DataError for shapes that do not agree, ConfigError for options out of range.
    """
    check_same_shape({"z1": z1, "z2": z2})
    b = len(z1)
    if similar.shape != (b,) or similar.is_floating_point():
        raise ShapeError(f"similar must be [{b}], true or false, got {similar.dtype} {list(similar.shape)}.")
    own = own_rows(rows, b)
    prepare = preparation(distance, normalize)
    d = pair_distances(prepare(z1), prepare(z2), distance)
    losses = torch.where(similar.bool(), _hinge(d - positive_margin, squared), _hinge(margin - d, squared))
    return reduce(losses[own], reduction, b, torch.count_nonzero(losses.detach()))


@objective
def labelled_contrastive(
    z: Tensor,
    *,
    labels: Tensor | None = None,
    pairs: Sequence[Tensor] | None = None,
    margin: Positive = 1.0,
    positive_margin: NotNegative = 0.0,
    squared: bool = True,
    distance: Distance = "euclidean",
    normalize: bool = True,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    rows: slice | None = None,
    reduction: NumberReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """The margin contrastive loss of all pairs of a batch: its mean over positive pairs plus that over negative ones.

    Each kind has a mean of its own, as positives would drown among the many negatives; otherwise as `contrastive`. z,
    labels, reference, offset and rows: see `core/labelled.py`; or, without labels, pairs `(a1, p, a2, n)` of indices,
    as miners give them: rows of z with rows of the reference, if there is one, else of z.

    "mean_active" divides the two sums by the pairs of loss above 0 of each kind, "sum" by nothing; "none" is refused.
    Memory is linear in the batch; `implementation` is "auto", "tiled" or "dense".
    """
    prepare = preparation(distance, normalize)

    def pull(d: Tensor) -> Tensor:
        return _hinge(d - positive_margin, squared)

    def push(d: Tensor) -> Tensor:
        return _hinge(margin - d, squared)

    if pairs is not None:
        must(labels is None and rows is None, "pairs come without labels and without rows", got=(labels, rows))
        anchors, columns = columns_of(z, reference, prepare)
        check_indices("pairs", pairs, (len(anchors), len(columns)) * 2)
        a1, p, a2, n = pairs
        pulls = pull(index_distances(anchors, columns, a1, p, distance))
        pushes = push(index_distances(anchors, columns, a2, n, distance))
        return reduce(pulls, reduction, max(1, len(p))) + reduce(pushes, reduction, max(1, len(n)))
    must(labels is not None, "Give labels, or pairs", got=labels)
    assert labels is not None
    found = compare(z, labels, reference, reference_labels, offset, rows, prepare)

    def sums(found: Labelled) -> Tensor:
        def score(d: Tensor, at: slice) -> Tensor:
            positive, negative = found.masks(at)
            pulls, pushes = pull(d) * positive, push(d) * negative
            return torch.stack([pulls.sum(1), pushes.sum(1), (pulls > 0).sum(1), (pushes > 0).sum(1)], 1)

        return distance_scores(score, found.rows, found.columns, distance=distance, implementation=implementation)

    pulls, pushes, *active = sums(found).unbind(1)
    if reduction == "mean_active" and not found.whole:
        with torch.no_grad():  # the count is that of all anchors
            active = list(sums(found.all_rows()).unbind(1)[2:])
    positives, negatives = (int(count.sum().clamp(min=1)) for count in found.counts())
    return reduce(pulls, reduction, positives, active[0].detach().sum()) + reduce(
        pushes, reduction, negatives, active[1].detach().sum()
    )


def _hinge(over: Tensor, squared: bool) -> Tensor:
    return over.relu().square() / 2 if squared else over.relu()


class ContrastiveLoss(LossModule, of=contrastive):
    """`contrastive` as a module: `ContrastiveLoss(margin=1.0)(z1, z2, similar=flags)`."""

    margin: Positive = 1.0
    _: KW_ONLY
    positive_margin: NotNegative = 0.0
    squared: bool = True
    distance: Distance = "euclidean"
    normalize: bool = True
    reduction: Reduction = "mean"


class LabelledContrastiveLoss(LossModule, of=labelled_contrastive):
    """`labelled_contrastive` as a module: `LabelledContrastiveLoss(margin=1.0)(z, labels=labels)`."""

    margin: Positive = 1.0
    _: KW_ONLY
    positive_margin: NotNegative = 0.0
    squared: bool = True
    distance: Distance = "euclidean"
    normalize: bool = True
    reduction: NumberReduction = "mean"
