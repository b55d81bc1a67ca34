"""Triplet: an anchor must be nearer to its positive than to its negative, by a margin.

Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015, eq. 3 and section 3.2.
https://arxiv.org/abs/1503.03832
Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, eq. 5 and 8, and its soft margin.
https://arxiv.org/abs/1703.07737
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import ConfigError, must
from nearfar.kernels import extremes
from nearfar.losses.core.batch import check_same_shape, own_rows
from nearfar.losses.core.distance import (
    centred,
    distance_scores,
    index_distances,
    pair_distances,
    preparation,
    wide_dtype,
)
from nearfar.losses.core.labelled import Labelled, compare
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Distance, NotNegative, Reduction, Word
from nearfar.losses.core.tuples import check_indices, columns_of

Mining = Annotated[str, Word(("all", "hard", "semi_hard"))]


@objective
def triplet(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: NotNegative | None = 0.2,
    distance: Distance = "euclidean",
    normalize: bool = True,
    rows: slice | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over given triplets of `max(0, d_ap - d_an + margin)`, d the distance: [B, D] three times -> [].

    margin None is the soft margin, `log(1 + exp(d_ap - d_an))`. distance is "euclidean", "squared_euclidean"
    (FaceNet's) or "cosine" (1 - cos); with normalize False the Euclidean ones are of embeddings as they are. rows: the
    triplets whose losses are summed, as shares of the whole. "mean_active" divides by the triplets of loss above 0;
    "none" gives [rows]. At distance 0 a distance has gradient 0.

    Where all embeddings coincide the loss is the margin. Raises DataError for shapes that do not agree, ConfigError
    for options out of range.
    """
    check_same_shape({"anchors": anchors, "positives": positives, "negatives": negatives})
    b = len(anchors)
    own = own_rows(rows, b)
    prepare = preparation(distance, normalize)
    a = prepare(anchors)
    near, far = (pair_distances(a, prepare(other), distance) for other in (positives, negatives))
    losses = _hinge(near - far, margin)
    return reduce(losses[own], reduction, b, torch.count_nonzero(losses.detach()))


@objective
def labelled_triplet(
    z: Tensor,
    *,
    labels: Tensor | None = None,
    triplets: Sequence[Tensor] | None = None,
    mining: Mining = "all",
    margin: NotNegative | None = 0.2,
    distance: Distance = "euclidean",
    normalize: bool = True,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    rows: slice | None = None,
    reduction: Reduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """The triplet loss of a batch with labels; `mining` says of which of its triplets.

    - "all": every anchor with every positive and every negative. Their number is cubic, the time N^2 log P: where an
      anchor's P positives are sorted, one search for each negative tells in how many hinges it is, and the hinges add
      up from these counts. There is no soft margin here, whose terms do not add up that way.
    - "hard": every anchor with its farthest positive and its nearest negative (Hermans' batch-hard). Anchors without a
      positive or without a negative are no triplet.
    - "semi_hard": every positive pair with the nearest negative that is farther than the positive, else with the
      farthest negative of all (FaceNet).

    Or, without labels, triplets `(a, p, n)` of indices, as miners give them: rows of z, and rows of the reference if
    there is one. z, labels, reference, offset and rows: see `core/labelled.py`. margin, distance, normalize: as
    `triplet`.

    "mean" divides by the triplets there are under this mining (by the number of positive pairs with "semi_hard");
    "mean_active" by those of loss above 0, which keeps the size of the gradient as fewer and fewer triplets are left.
    With rows, counting them takes the forward pass of all anchors. "none" gives a loss for each anchor with "hard"
    (0 where it has no triplet), for each tuple with `triplets`, and is refused otherwise. Memory is linear in the
    batch; `implementation` is "auto", "tiled" or "dense". Where no triplet exists the loss is 0.
    """
    prepare = preparation(distance, normalize)
    if triplets is not None:
        must(labels is None and rows is None, "triplets come without labels and without rows", got=(labels, rows))
        anchors, columns = columns_of(z, reference, prepare)
        check_indices("triplets", triplets, (len(anchors), len(columns), len(columns)))
        a, p, n = triplets
        near, far = (index_distances(anchors, columns, a, other, distance) for other in (p, n))
        return reduce(_hinge(near - far, margin), reduction, max(1, len(a)))
    must(labels is not None, "Give labels, or triplets", got=labels)
    assert labels is not None
    must(reduction != "none" or mining == "hard",
         f"reduction must be a number with mining {mining!r}, as triplets are never held at once",
         got=reduction)  # fmt: skip
    found = compare(z, labels, reference, reference_labels, offset, rows, prepare)
    positives, negatives = found.counts()

    def sums(found: Labelled) -> tuple[Tensor, Tensor]:
        """The sum of each anchor's hinges and the number above 0: [R], [R]."""
        if mining == "hard":
            losses = _hardest(found, margin, distance)
            return losses, (losses.detach() > 0).long()
        score = _all_of_rows(found, margin) if mining == "all" else _semi_hard_of_rows(found, margin)
        out = distance_scores(score, found.rows, found.columns, distance=distance, implementation=implementation)
        return out[:, 0], out[:, 1].detach()

    losses, active = sums(found)
    if reduction == "mean_active" and not found.whole:
        with torch.no_grad():
            active = sums(found.all_rows())[1]
    exist = {
        "all": positives * negatives,
        "hard": (positives > 0) & (negatives > 0),
        "semi_hard": positives * (negatives > 0),
    }[mining]
    return reduce(losses, reduction, max(1, int(exist.sum())), active.sum()).to(found.anchors.dtype)


def _all_of_rows(found: Labelled, margin: float | None) -> Callable[[Tensor, slice], Tensor]:
    if margin is None:
        raise ConfigError("mining 'all' has no soft margin, whose terms are cubic in number: use 'hard' or a margin.")

    def score(d: Tensor, at: slice) -> Tensor:
        positive, negative = found.masks(at)
        reach = _ordered_positives(d, positive) + margin  # [r P]
        most = reach.shape[1]
        # How many reaches each negative has passed: it is in the hinges of the others.
        passed = torch.searchsorted(reach.detach(), d.detach(), right=True)  # [r N]
        of_negative = (most - passed).masked_fill_(~negative, 0)
        of_positive = passed.new_zeros(len(d), most + 1).scatter_add_(1, passed, negative.long()).cumsum(1)[:, :most]
        # The sum of hinges as a difference of two sums, for which float32 has too few digits.
        wide = wide_dtype(d)
        reached = torch.where(of_positive > 0, reach, 0.0).to(wide)
        hinges = (of_positive * reached).sum(1) - (of_negative * d.to(wide)).sum(1)
        return torch.stack([hinges, of_positive.sum(1).to(wide)], 1)

    return score


def _semi_hard_of_rows(found: Labelled, margin: float | None) -> Callable[[Tensor, slice], Tensor]:
    def score(d: Tensor, at: slice) -> Tensor:
        positive, negative = found.masks(at)
        near = _ordered_positives(d, positive)  # [r P]
        most = near.shape[1]
        # How many positives are nearer than each negative, and the nearest negative of each such number.
        nearer = torch.searchsorted(near.detach(), d.detach())  # [r N]
        nearest = d.new_full((len(d), most + 1), torch.inf).scatter_reduce(
            1, nearer, d.masked_fill(~negative, torch.inf), "amin"
        )
        farther = nearest.flip(1).cummin(1).values.flip(1)[:, 1:]  # [r P]
        farthest = d.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
        chosen = torch.where(farther.isfinite(), farther, farthest)
        exists = near.isfinite() & farthest.isfinite()
        hinges = _hinge(torch.where(exists, near - chosen, 0.0), margin) * exists
        return torch.stack([hinges.sum(1), (hinges > 0).sum(1)], 1)

    return score


def _ordered_positives(d: Tensor, positive: Tensor) -> Tensor:
    """The distances to each row's positives, ascending, after as many -inf as it has fewer than others: [r, P]."""
    row, column = positive.nonzero(as_tuple=True)
    counts = positive.sum(1)
    most = int(F.pad(counts, (0, 1), value=1).max())
    place = torch.arange(len(row), device=d.device) - (counts.cumsum(0) - counts)[row]
    padded = d.new_full((len(d), most), -torch.inf)
    return padded.index_put((row, place), d[row, column]).sort(1).values


def _hardest(found: Labelled, margin: float | None, distance: str) -> Tensor:
    """The hinge of each row's farthest positive and nearest negative, 0 where it lacks one: [R]."""
    anchors, positives, negatives = hardest_of(found, distance)
    near, far = (index_distances(found.rows, found.columns, anchors, j, distance) for j in (positives, negatives))
    return torch.zeros_like(found.rows[:, 0]).index_put((anchors,), _hinge(near - far, margin))


def hardest_of(found: Labelled, distance: str) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with a positive and a negative, with their farthest positive and nearest negative: three times [K]."""
    rows, columns = centred(found.rows.detach(), found.columns.detach(), distance)
    if distance != "cosine":
        # x . y - |y|^2 / 2 is largest where |x - y| is smallest.
        rows = F.pad(rows, (0, 1), value=1.0)
        columns = torch.cat([columns, columns.square().sum(1, keepdim=True) / -2], 1)
    positives = extremes(rows, columns, pairs=found.pairs("same"), largest=False).columns
    negatives = extremes(rows, columns, pairs=found.pairs("different")).columns
    both = ((positives >= 0) & (negatives >= 0)).nonzero().squeeze(1)
    return both, positives[both], negatives[both]


def _hinge(over: Tensor, margin: float | None) -> Tensor:
    # Beyond its threshold softplus is taken as the identity: 40 leaves no digit of float64 behind.
    return F.softplus(over, threshold=40) if margin is None else (over + margin).relu()


class TripletLoss(LossModule, of=triplet):
    """`triplet` as a module: `TripletLoss(margin=0.2)(anchors, positives, negatives)`."""

    margin: NotNegative | None = 0.2
    _: KW_ONLY
    distance: Distance = "euclidean"
    normalize: bool = True
    reduction: Reduction = "mean"


class LabelledTripletLoss(LossModule, of=labelled_triplet):
    """`labelled_triplet` as a module: `LabelledTripletLoss(mining="hard")(z, labels=labels)`."""

    margin: NotNegative | None = 0.2
    _: KW_ONLY
    mining: Mining = "all"
    distance: Distance = "euclidean"
    normalize: bool = True
    reduction: Reduction = "mean"
