"""The closest pairs (possible duplicates) and the strangest samples of an embedding, in one pass over chunks."""

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nearfar.errors import must
from nearfar.inspection.map import sample_evenly, unit_rows

_CHUNK_ENTRIES = 2**24
"""Similarities held at a time (64 MB of float32)."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Indices into the vectors given, best first; `examined` of them were compared with each other."""

    closest: list[tuple[int, int, float]]
    """(i, j, cosine), i < j, each unordered pair once, highest cosine first."""
    strangest: list[tuple[int, float]]
    """(i, mean cosine to its k nearest), lowest first."""
    examined: int


def find(
    vectors: ArrayLike, *, pairs: int = 12, strange: int = 12, k: int = 5, limit: int = 50_000, seed: int = 0
) -> Gallery:
    """Find the pairs with the highest cosine and the rows with the lowest mean cosine to their k nearest.

    `vectors` [N, D] finite. Exact up to `limit` rows; beyond it, `limit` rows are sampled evenly and compared with each
    other. Raises DataError for rows that are not finite.
    """
    must(pairs >= 0 and strange >= 0, "pairs and strange must be >= 0", got=(pairs, strange))
    must(k >= 1, "k must be >= 1", got=k)
    rows = unit_rows(vectors)
    chosen = sample_evenly(len(rows), limit, seed)
    unit = torch.from_numpy(rows[chosen])
    if len(unit) < 2:
        return Gallery(closest=[], strangest=[], examined=len(unit))
    best: list[tuple[float, int, int]] = []
    near = torch.empty(len(unit))
    step = max(1, _CHUNK_ENTRIES // len(unit))
    for first in range(0, len(unit), step):
        cosine = (unit[first : first + step] @ unit.T).clamp_(-1, 1)
        own = torch.arange(first, first + len(cosine))
        cosine[torch.arange(len(cosine)), own] = -torch.inf
        top = cosine.topk(min(k, len(unit) - 1), dim=1).values
        near[own] = top.mean(dim=1)
        if pairs:
            best = _merge(best, cosine, top[:, 0], first, pairs)
    order = torch.sort(near, stable=True).indices[:strange].tolist()
    return Gallery(
        closest=[(int(chosen[i]), int(chosen[j]), -negative) for negative, i, j in best],
        strangest=[(int(chosen[i]), float(near[i])) for i in order],
        examined=len(unit),
    )


def _merge(
    best: list[tuple[float, int, int]], cosine: Tensor, highest: Tensor, first: int, count: int
) -> list[tuple[float, int, int]]:
    """Merge a chunk's pairs into the best so far: (-cosine, i, j), sorted, `count` at most."""
    # A row whose highest cosine cannot enter the list is not looked at again: almost all rows, after the first chunk.
    # Of equal pairs the ones found first stay, hence the strict comparison.
    floor = -best[-1][0] if len(best) == count else -torch.inf
    rows = (highest > floor).nonzero().flatten()
    block = cosine[rows]
    block.masked_fill_(torch.arange(cosine.shape[1])[None] <= (rows + first)[:, None], -torch.inf)
    value, flat = block.flatten().topk(min(count, block.numel()))
    found = [
        (-v, int(rows[at // cosine.shape[1]]) + first, at % cosine.shape[1])
        for v, at in zip(value.tolist(), flat.tolist(), strict=True)
        if v > -torch.inf
    ]
    return sorted(best + found)[:count]
