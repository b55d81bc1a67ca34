"""Margin contrastive: similar pairs are pulled together, the others pushed apart until a margin.

Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006, eq. 4 (its Y = 0 means similar).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nearfar.errors import DataError, must
from nearfar.losses.core.batch import check_same_shape, own_rows
from nearfar.losses.core.distance import check_distance, distance_scores, index_distances, pair_distances, preparation
from nearfar.losses.core.labelled import Labelled, compare
from nearfar.losses.core.reduction import check_reduction, reduce
from nearfar.losses.core.tuples import check_indices, columns_of


def contrastive(
    z1: Tensor,
    z2: Tensor,
    *,
    similar: Tensor,
    margin: float = 1.0,
    positive_margin: float = 0.0,
    squared: bool = True,
    distance: str = "euclidean",
    normalize: bool = True,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over given pairs of `d^2 / 2` where similar, else `max(0, margin - d)^2 / 2`, d their distance.

    z1, z2: [B, D], row i of the same pair; similar [B], true (or 1) where the pair belongs together. distance is
    "euclidean", "squared_euclidean" or "cosine" (1 - cos); with normalize False the Euclidean ones are of embeddings
    as they are, as in the paper. With squared False terms are neither squared nor halved. positive_margin: similar
    pairs nearer than this are let be. rows: the pairs whose losses are summed, as shares of the whole.

    "mean_active" divides by the pairs of loss above 0; "none" gives [rows]. Pairs at distance 0 get gradient 0. Raises
    DataError for shapes that do not agree, ConfigError for options out of range.
    """
    check_reduction(reduction)
    _check(margin, positive_margin)
    check_same_shape({"z1": z1, "z2": z2})
    b = len(z1)
    if similar.shape != (b,) or similar.is_floating_point():
        raise DataError(f"similar must be [{b}], true or false, got {similar.dtype} {list(similar.shape)}.")
    own = own_rows(rows, b)
    prepare = preparation(distance, normalize)
    with torch.autocast(z1.device.type, enabled=False):
        d = pair_distances(prepare(z1), prepare(z2), distance)
        losses = torch.where(similar.bool(), _hinge(d - positive_margin, squared), _hinge(margin - d, squared))
        return reduce(losses[own], reduction, b, torch.count_nonzero(losses.detach()))


def labelled_contrastive(
    z: Tensor,
    *,
    labels: Tensor | None = None,
    pairs: Sequence[Tensor] | None = None,
    margin: float = 1.0,
    positive_margin: float = 0.0,
    squared: bool = True,
    distance: str = "euclidean",
    normalize: bool = True,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    rows: slice | None = None,
    reduction: str = "mean",
    implementation: str = "auto",
) -> Tensor:
    """The margin contrastive loss of all pairs of a batch: its mean over positive pairs plus that over negative ones.

    Each kind has a mean of its own, as positives would drown among the many negatives; otherwise as `contrastive`. z,
    labels, reference, offset and rows: see `parts/labelled.py`; or, without labels, pairs `(a1, p, a2, n)` of indices,
    as miners give them: rows of z with rows of the reference, if there is one, else of z.

    "mean_active" divides the two sums by the pairs of loss above 0 of each kind, "sum" by nothing; "none" is refused.
    Memory is linear in the batch; `implementation` is "auto", "tiled" or "dense".
    """
    check_reduction(reduction)
    must(reduction != "none", "reduction must be a number, as pairs are never held at once", got=reduction)
    _check(margin, positive_margin)
    prepare = preparation(distance, normalize)

    def pull(d: Tensor) -> Tensor:
        return _hinge(d - positive_margin, squared)

    def push(d: Tensor) -> Tensor:
        return _hinge(margin - d, squared)

    with torch.autocast(z.device.type, enabled=False):
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


def _check(margin: float, positive_margin: float) -> None:
    must(margin > 0, "margin must be > 0", got=margin)
    must(positive_margin >= 0, "positive_margin must be >= 0", got=positive_margin)


class _Settings(nn.Module):
    def __init__(
        self,
        margin: float = 1.0,
        *,
        positive_margin: float = 0.0,
        squared: bool = True,
        distance: str = "euclidean",
        normalize: bool = True,
        reduction: str = "mean",
    ):
        super().__init__()
        _check(margin, positive_margin)
        check_distance(distance)
        check_reduction(reduction)
        self.margin = margin
        self.positive_margin = positive_margin
        self.squared = squared
        self.distance = distance
        self.normalize = normalize
        self.reduction = reduction

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"margin={self.margin}, distance={self.distance!r}, reduction={self.reduction!r}"


class ContrastiveLoss(_Settings):
    """`contrastive` as a module: `ContrastiveLoss(margin=1.0)(z1, z2, similar=flags)`."""

    def forward(self, z1: Tensor, z2: Tensor, *, similar: Tensor) -> Tensor:
        """The loss of pairs z1, z2 [B, D], similar [B] or not."""
        return contrastive(
            z1, z2, similar=similar, margin=self.margin, positive_margin=self.positive_margin, squared=self.squared,
            distance=self.distance, normalize=self.normalize, reduction=self.reduction,
        )  # fmt: skip


class LabelledContrastiveLoss(_Settings):
    """`labelled_contrastive` as a module: `LabelledContrastiveLoss(margin=1.0)(z, labels=labels)`."""

    def forward(
        self,
        z: Tensor,
        *,
        labels: Tensor | None = None,
        pairs: Sequence[Tensor] | None = None,
        reference: Tensor | None = None,
        reference_labels: Tensor | None = None,
        offset: int | None = None,
    ) -> Tensor:
        """The loss of z [M, D] by labels [M] or index pairs."""
        return labelled_contrastive(
            z, labels=labels, pairs=pairs, margin=self.margin, positive_margin=self.positive_margin,
            squared=self.squared, distance=self.distance, normalize=self.normalize, reference=reference,
            reference_labels=reference_labels, offset=offset, reduction=self.reduction,
        )  # fmt: skip
