"""NNCLR: the nearest neighbour of one view, in a queue of earlier samples, must find the prediction of the other view.

Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations",
2021, eq. 2 to 4 and algorithm 1. https://arxiv.org/abs/2104.14548
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels import Pairs, extremes
from nearfar.losses.core.batch import ShapeError, check_same_shape, group_numbers, own_rows
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction
from nearfar.losses.core.unit import unit
from nearfar.losses.info_nce import info_nce

Views = Sequence[Tensor] | Tensor


@objective
def nnclr(
    predictions: Views,
    projections: Views,
    queue: Tensor,
    *,
    temperature: Learned = 0.1,
    ids: Tensor | None = None,
    queue_ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over both views and all samples i of `LSE_k(n_i . p_k / t) - n_i . p_i / t`, in cosines.

    n_i is the row of the queue nearest to the projection of one view, p_k the predictions of the other. predictions,
    projections: two views [B, D] each, stacked or in a sequence; queue: projections of earlier samples [K, D], one a
    row, K >= 0; of any length. Only predictions and temperature get gradients.

    ids [B] and queue_ids [K], integers: samples of equal id are no negatives of each other, and an earlier projection
    of the same sample is no neighbour of it. A sample that finds no neighbour is its own. rows: the samples whose
    losses are summed; the mean still divides by 2 * B, so that shares of disjoint rows sum to the whole. reduction
    "none" gives [2, rows], by the view that looks for a neighbour. Memory is linear in B + K; `implementation` is
    "auto", "dense", "tiled" or "triton".

    Where all predictions coincide the loss is log B. Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    if len(predictions) != 2 or len(projections) != 2:
        raise ShapeError(
            f"predictions and projections must be two views each, got {len(predictions)} and {len(projections)}."
        )
    named = {f"predictions[{k}]": p for k, p in enumerate(predictions)}
    check_same_shape(named | {f"projections[{k}]": z for k, z in enumerate(projections)})
    b, d = projections[0].shape
    if queue.dim() != 2 or queue.shape[1] != d:
        raise ShapeError(f"queue must be projections [K, {d}], one a row, got shape {list(queue.shape)}.")
    own = own_rows(rows, b)
    pairs = _pairs(ids, queue_ids, b, len(queue), own)
    bank = unit(queue.detach())
    each = [
        info_nce(
            _neighbours(projections[k], bank, pairs, own), predictions[1 - k], temperature=temperature, ids=ids,
            rows=own, reduction="none", implementation=implementation,
        )
        for k in (0, 1)
    ]  # fmt: skip
    return reduce(torch.stack(each), reduction, 2 * b)


def _pairs(ids: Tensor | None, queue_ids: Tensor | None, b: int, size: int, own: slice) -> Pairs:
    """Which rows of the queue may be neighbours of the own samples."""
    if queue_ids is None:
        return Pairs()
    if ids is None:
        raise ShapeError("queue_ids say nothing without ids: pass both, or neither.")
    numbers = group_numbers(torch.cat([ids, queue_ids]), b + size, name="ids and queue_ids")
    return Pairs(row_groups=numbers[:b][own], column_groups=numbers[b:])


@torch.no_grad()
def _neighbours(z: Tensor, bank: Tensor, pairs: Pairs, own: slice) -> Tensor:
    """z [B, D] at length 1, its `own` rows replaced by the nearest of the bank [K, D] where there is one."""
    found = unit(z.detach())
    if len(bank):
        columns = extremes(found[own], bank, pairs=pairs).columns
        found[own] = torch.where((columns >= 0)[:, None], bank[columns.clamp(min=0)], found[own])
    return found


class NNCLRLoss(LossModule, of=nnclr):
    """`nnclr` as a module: `NNCLRLoss(temperature=0.1)([p1, p2], [z1, z2], queue)`; the queue is the caller's."""

    temperature: Learned = 0.1
    _: KW_ONLY
    reduction: MeanReduction = "mean"
