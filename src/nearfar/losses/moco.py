"""MoCo's loss: a query must find its key among the keys of a queue.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2020, eq. 1 and algorithm 1.
https://arxiv.org/abs/1911.05722
"""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels import Pairs, row_lse, softplus
from nearfar.losses.core.batch import ShapeError, check_same_shape, group_numbers, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction
from nearfar.losses.core.unit import unit


@objective
def moco(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    *,
    temperature: Learned = 0.07,
    ids: Tensor | None = None,
    queue_ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over queries i of the cross-entropy of `[q_i . k_i, q_i . queue] / t` with its own key, in cosines.

    queries, keys: [B, D], row i of the same sample; queue: earlier keys [K, D], one a row, K >= 0; of any length. The
    negatives are those of the queue alone, and only queries and temperature get gradients. The queue must not hold
    `keys` yet, else each query's positive is its negative too: enqueue after the loss. Slots not yet filled are left
    out by the caller: `queue[:filled]`.

    ids [B] and queue_ids [K], integers, together: a key of equal id in the queue is an earlier key of the same sample,
    and no negative. rows: the queries whose losses are summed; the mean still divides by B, so that shares of disjoint
    rows sum to the whole. reduction "none" gives [rows]. Memory is linear in B + K; `implementation` is "auto",
    "tiled" or "dense".

    Where all embeddings coincide the loss is log(K + 1). Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    check_same_shape({"queries": queries, "keys": keys})
    b, d = queries.shape
    if queue.dim() != 2 or queue.shape[1] != d:
        raise ShapeError(f"queue must be keys [K, {d}], one a row, got shape {list(queue.shape)}.")
    scale = 1 / temperature
    own = own_rows(rows, b)
    pairs = Pairs()
    if (ids is None) != (queue_ids is None):
        raise ShapeError("ids and queue_ids say something only together: pass both, or neither.")
    if ids is not None and queue_ids is not None:
        numbers = group_numbers(torch.cat([ids, queue_ids]), b + len(queue), name="ids and queue_ids")
        pairs = Pairs(row_groups=numbers[:b][own], column_groups=numbers[b:])
    q = unit(part(queries, own))
    negatives = row_lse(q, unit(queue.detach()), scale=scale, pairs=pairs, implementation=implementation)
    positives = (q * unit(part(keys.detach(), own))).sum(-1) * scale
    return reduce(softplus(negatives - positives), reduction, b)


class MoCoLoss(LossModule, of=moco):
    """`moco` as a module: `MoCoLoss(temperature=0.07)(queries, keys, queue)`; the queue is the caller's."""

    temperature: Learned = 0.07
    _: KW_ONLY
    reduction: MeanReduction = "mean"
