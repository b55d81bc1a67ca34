"""InfoNCE where a query may have any number of right documents.

Khosla et al., "Supervised Contrastive Learning", 2020, eq. 2 and 3, between two sets. https://arxiv.org/abs/2004.11362
"""

from dataclasses import KW_ONLY
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.kernels import Pairs, row_lse
from nearfar.losses.core.batch import ShapeError, class_numbers, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.positives import by_class, by_mask, count_by_class
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, Reduction, Variant
from nearfar.losses.core.unit import unit


@objective
def multi_positive(
    queries: Tensor,
    documents: Tensor,
    *,
    mask: Tensor | None = None,
    groups: tuple[Tensor, Tensor] | None = None,
    temperature: Learned = 0.1,
    variant: Variant = "out",
    rows: slice | None = None,
    reduction: Reduction = "mean_active",
    implementation: str = "auto",
) -> Tensor:
    """Mean over queries with a positive of the softmax loss of their positives p among all documents j, s cosine.

    variant "out", the log inside the mean: `LSE_j(s_ij / t) - mean_p s_ip / t`, where every positive must be found.
    "in", the mean inside the log: `LSE_j(s_ij / t) - log mean_p e^{s_ip / t}`, never more than "out", and content once
    one positive is found. Other positives of a query stand in its denominator either way (`labelled_nt_xent` leaves
    them out). With one positive each both are `info_nce`.

    queries: [M, D]; documents: [N, D]; of any length. Which are positives is said by mask [M, N], booleans, or by
    groups, two tensors of integers [M] and [N] that are equal for positives, and -1 for what has none.

    reduction "mean_active" is the mean over the queries that have a positive; "mean" counts the others as 0. rows: the
    queries whose losses are summed; both means still divide by the number of the whole batch, so that shares of
    disjoint rows sum to the whole. reduction "none" gives [rows]. Memory is linear in M + N beside a mask;
    `implementation` is "auto", "tiled" or "dense".

    Where all embeddings coincide the loss is log N. Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    for name, z in {"queries": queries, "documents": documents}.items():
        if z.dim() != 2 or len(z) == 0 or z.shape[1] != queries.shape[-1]:
            raise ShapeError(f"{name} must be embeddings, all of one width D and at least one, got {list(z.shape)}.")
    if (mask is None) == (groups is None):
        raise ConfigError("positives are given by mask or by groups: pass one of the two.")
    scale = 1 / temperature
    m, n = len(queries), len(documents)
    own = own_rows(rows, m)
    q, docs = unit(part(queries, own)), unit(documents)
    if mask is not None:
        check_mask(mask, (m, n))
        active = mask.any(1).sum()
        losses = by_mask(q, docs, scale, mask[own], variant=variant, implementation=implementation)
    else:
        assert groups is not None
        numbers = class_numbers(torch.cat(groups), m + n, name="groups")
        rows_of, columns_of = numbers[:m], numbers[m:]
        active = (count_by_class(Pairs(None, rows_of, columns_of, "same")) > 0).sum()
        same = Pairs(None, rows_of[own], columns_of, "same")
        lse = row_lse(q, docs, scale=scale, implementation=implementation)
        losses = by_class(q, docs, scale, lse, same, variant=variant, implementation=implementation)
    return reduce(losses, reduction, m, active)


def check_mask(mask: Tensor, shape: tuple[int, int]) -> None:
    """Raise unless mask is a tensor of booleans of that shape."""
    if mask.dtype != torch.bool:
        raise ConfigError(f"mask must be a tensor of booleans, got {mask.dtype}: pass mask.bool().")
    if mask.shape != shape:
        raise ShapeError(f"mask must be {list(shape)}, True for positives, got shape {list(mask.shape)}.")


class MultiPositiveLoss(LossModule, of=multi_positive):
    """`multi_positive` as a module: `MultiPositiveLoss(temperature=0.1)(queries, documents, mask)`."""

    temperature: Learned = 0.1
    _: KW_ONLY
    variant: Variant = "out"
    reduction: Reduction = "mean_active"

    def forward(self, queries: Tensor, documents: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """The loss of queries [M, D] and documents [N, D], positives by mask [M, N] or by groups."""
        return self.compute(queries, documents, mask=mask, **options)
