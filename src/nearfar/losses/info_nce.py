"""InfoNCE: each query must find its document among all documents.

van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4.
https://arxiv.org/abs/1807.03748
"""

from dataclasses import KW_ONLY
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.kernels import Pairs, Ring, row_column_lse, row_lse
from nearfar.losses.core.batch import ShapeError, anchored, check_same_shape, group_numbers, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction
from nearfar.losses.core.unit import shared_half, unit


@objective
def info_nce(
    queries: Tensor,
    documents: Tensor,
    *,
    temperature: Learned = 0.1,
    negatives: Tensor | None = None,
    symmetric: bool = False,
    ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
    log_q: Tensor | None = None,
    rows: slice | None = None,
    ring: Ring | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over queries i of `LSE_j(s_ij / t) - s_ii / t`, s the cosine of query i and document j.

    queries, documents: [B, D], row i of the same pair, of any length. negatives: more documents [K, D], or hard
    negatives of each query [B, K, D]; either way all of them are negatives of every query. symmetric: the mean with
    the same loss of documents against queries, where `negatives` have no part.

    ids [B], integers: pairs of equal id are the same thing twice (the same text, the same item), and are no negatives
    of each other; negative_ids [K] or [B, K] do the same for `negatives`. rows: the pairs whose losses are summed;
    the mean still divides by B, so that shares of disjoint rows sum to the whole. ring: queries and documents are this
    rank's own alone, which are its rows, ids are those of all ranks, and there are no other negatives (`kernels.ring`:
    all ranks call this together). reduction "none" gives [rows]. Memory is linear in B; `implementation` is "auto",
    "dense", "tiled" or "triton", which multiplies embeddings in the half precision that all of them come in
    (`kernels.triton_lse`: its error).

    log_q [2, B]: the logarithm of how often each query and each document comes in batches (up to a constant), which is
    taken from its logits as a candidate: what is popular is a negative more often than it should be (Yi et al.,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", 2019, equation 3). Not with a ring
    or other negatives.

    Where all embeddings coincide the loss is log of the number of documents. Raises DataError for shapes that do not
    agree, ConfigError for options out of range.
    """
    check_same_shape({"queries": queries, "documents": documents}, ring=ring)
    must(ring is None or negatives is None, "with a ring, negatives must be None", got="some")
    must(log_q is None or (ring is None and negatives is None), "log_q needs no ring and no negatives", got="some")
    must(log_q is None or log_q.shape == (2, len(queries)), f"log_q must be [2, {len(queries)}]", got=log_q)
    b, own, here = anchored(rows, len(queries), ring)
    extra = None if negatives is None else _flat_negatives(negatives, queries.shape)
    query_groups, document_groups = _groups(ids, negative_ids, b, 0 if extra is None else len(extra))
    product = shared_half(queries, documents, negatives)

    scale = 1 / temperature
    q, docs = unit(queries), unit(documents)
    candidates = docs if extra is None else torch.cat([docs, unit(extra)])

    def directed(
        anchors: Tensor, columns: Tensor, own_groups: Tensor | None, groups: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        pairs = Pairs(row_groups=None if own_groups is None else own_groups[own], column_groups=groups)
        return row_lse(
            part(anchors, here), columns, scale=scale, bias=bias, pairs=pairs, implementation=implementation,
            product=product, ring=ring,
        )  # fmt: skip

    biases = (None, None) if log_q is None else (-log_q[0].detach(), -log_q[1].detach())
    if symmetric and ring is None and own == slice(0, b) and log_q is None:
        pairs = Pairs(row_groups=query_groups, column_groups=document_groups)
        # One matrix serves both directions.
        by_row, by_column = row_column_lse(
            q, candidates, scale=scale, pairs=pairs, implementation=implementation, product=product
        )
        directions = [by_row, by_column[:b]]
    else:
        directions = [directed(q, candidates, query_groups, document_groups, biases[1])]
        if symmetric:
            directions.append(directed(docs, q, query_groups, query_groups, biases[0]))
    positive = (part(q, here) * part(docs, here)).sum(-1) * scale
    positives = [positive if bias is None else positive + bias[own] for bias in (biases[1], biases[0])]
    if query_groups is not None:
        # Equal ids left the kernel's sums together with the pair itself: that comes back.
        directions = [torch.logaddexp(lse, one) for lse, one in zip(directions, positives, strict=False)]
    losses = torch.stack([lse - one for lse, one in zip(directions, positives, strict=False)]).mean(0)
    return reduce(losses, reduction, b)


def _flat_negatives(negatives: Tensor, shape: torch.Size) -> Tensor:
    b, d = shape
    if negatives.dim() not in (2, 3) or negatives.shape[-1] != d or (negatives.dim() == 3 and len(negatives) != b):
        raise ShapeError(f"negatives must be [K, {d}] or [{b}, K, {d}], got shape {list(negatives.shape)}.")
    return negatives.reshape(-1, d)


def _groups(ids: Tensor | None, negative_ids: Tensor | None, b: int, extra: int) -> tuple[Tensor | None, Tensor | None]:
    """Group numbers of the queries [B] and of all candidates [B + K], or None where nothing is masked."""
    if ids is None:
        if negative_ids is not None:
            raise ShapeError("negative_ids say nothing without ids: pass both, or neither.")
        return None, None
    if negative_ids is None:
        groups = group_numbers(ids, b)
        return groups, torch.cat([groups, groups.new_full((extra,), -1)])
    groups = group_numbers(torch.cat([ids, negative_ids.reshape(-1)]), b + extra, name="ids and negative_ids")
    return groups[:b], groups


class InfoNCELoss(LossModule, of=info_nce):
    """`info_nce` as a module: `InfoNCELoss(temperature=0.1)(queries, documents, negatives)`."""

    temperature: Learned = 0.1
    _: KW_ONLY
    symmetric: bool = False
    reduction: MeanReduction = "mean"

    def forward(self, queries: Tensor, documents: Tensor, negatives: Tensor | None = None, **options: Any) -> Tensor:
        """The loss of queries and documents [B, D], row i of the same pair; options are those of `info_nce`."""
        return self.compute(queries, documents, negatives=negatives, **options)
