"""Nearest neighbours by a first look in bf16, where the processor has units for it: twice as fast, and still exact.

Rounding moves a similarity by less than a bound. Candidates are looked at again in fp32, and a query is settled where,
by that bound, no other row can reach the last of its neighbours; the others are left to the whole computation.
"""

import torch
from torch import Tensor

from nearfar.evaluation.selection import groups_of, top

_LEAST = 2**33
"""Multiplications from which it is worth the rounding of the bank."""
_TILE = 2**25
_ROUNDED = 2.0**-8
"""The largest relative error of a number in bf16, twice: for the product, and for what is neglected here."""


def pays(bank: Tensor, queries: Tensor) -> bool:
    """Whether the first look in bf16 is faster than the whole computation in fp32."""
    if bank.device.type != "cpu" or len(bank) * queries.numel() < _LEAST or len(queries) < 256:
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def settle(
    bank: Tensor, queries: Tensor, k: int, values: Tensor, indices: Tensor, exclude_self: bool = False
) -> Tensor:
    """Fill in `values` and `indices` `[Q, k]` of the queries that are settled; returns the numbers of the others.

    Where most queries of a tile are not, as the neighbours lie too near to each other, it stops.
    """
    count = min(k + k // 2 + 10, len(bank))
    coarse, error = bank.bfloat16(), 0.0
    for some, rounded in zip(torch.split(bank, 4096), torch.split(coarse, 4096), strict=True):
        error = max(error, float(torch.linalg.vector_norm(some - rounded.float(), dim=1).max()))
    groups = groups_of(len(bank), count)
    rows = max(1, min(len(queries), _TILE // len(bank)))
    scores, gathered = coarse.new_empty(rows, len(bank)), bank.new_empty(rows * count, bank.shape[1])
    left = []
    for start in range(0, len(queries), rows):
        part = queries[start : start + rows]
        some = torch.arange(start, start + len(part))
        low = part.bfloat16()
        similar = torch.mm(low, coarse.T, out=scores[: len(part)])
        if exclude_self:
            similar.scatter_(1, some[:, None], -torch.inf)
        first, at = top(similar, count, groups)
        # Into memory that is there already: with new memory it takes three times as long.
        near = torch.index_select(bank, 0, at.flatten(), out=gathered[: at.numel()]).view(*at.shape, -1)
        exact = torch.bmm(near, part[:, :, None])[:, :, 0]
        if exclude_self:
            exact[first == -torch.inf] = -torch.inf
        found, place = exact.topk(k, dim=1)
        values[some], indices[some] = found, at.gather(1, place)
        last = first[:, -1].float()
        own = torch.linalg.vector_norm(part - low.float(), dim=1)
        reach = last + _ROUNDED * last.abs() + 1.01 * (error + own) + bank.shape[1] * 2.0**-22
        unsettled = some[reach >= found[:, -1]] if count < len(bank) else some[:0]
        left.append(unsettled)
        if 2 * len(unsettled) > len(part):
            left.append(torch.arange(start + len(part), len(queries)))
            break
    return torch.cat(left)
