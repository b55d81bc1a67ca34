"""The closest pairs (possible duplicates) and the samples farthest from all others, by one search for neighbours."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from nearfar.errors import must
from nearfar.evaluation.knn import nearest
from nearfar.inspection.projection import sample_evenly


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """Indices into the vectors given, best first; `examined` of them were compared with each other."""

    closest: list[tuple[int, int, float]]
    """(i, j, cosine), i < j, each unordered pair once, highest cosine first."""
    strangest: list[tuple[int, float]]
    """(i, mean cosine to its k nearest), lowest first."""
    examined: int


def find(
    vectors: ArrayLike, *, pairs: int = 12, strange: int = 12, k: int = 5, limit: int = 10_000, seed: int = 0
) -> Extremes:
    """Find the pairs with the highest cosine and the rows with the lowest mean cosine to their k nearest.

    `vectors` [N, D] finite. Exact up to `limit` rows; beyond it, `limit` rows are sampled evenly and compared with each
    other. Raises DataError for rows that are not finite.
    """
    must(pairs >= 0 and strange >= 0, "pairs and strange must be >= 0", got=(pairs, strange))
    must(k >= 1, "k must be >= 1", got=k)
    rows = torch.as_tensor(np.asarray(vectors, dtype=np.float32))
    chosen = sample_evenly(len(rows), limit, seed)
    if len(chosen) < 2:
        return Extremes(closest=[], strangest=[], examined=len(chosen))
    some = rows[torch.from_numpy(chosen)]
    # A pair that neither has among its m nearest is behind 2 m others: half as many as pairs are enough.
    similarities, near = nearest(some, some, max(k, -(-pairs // 2)), exclude_self=True)
    mean = similarities[:, :k].mean(dim=1)
    order = torch.sort(mean, stable=True).indices[:strange].tolist()
    return Extremes(
        closest=[(int(chosen[i]), int(chosen[j]), cosine) for i, j, cosine in _pairs(similarities, near, pairs)],
        strangest=[(int(chosen[i]), float(mean[i])) for i in order],
        examined=len(some),
    )


def _pairs(similarities: torch.Tensor, near: torch.Tensor, count: int) -> list[tuple[int, int, float]]:
    """The `count` pairs with the highest cosine, each once."""
    flat = similarities.flatten()
    found: dict[tuple[int, int], float] = {}
    for place in flat.topk(min(2 * count, len(flat))).indices.tolist():
        i = place // near.shape[1]
        j = int(near.flatten()[place])
        found.setdefault((min(i, j), max(i, j)), float(flat[place]))
    best = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:count]
    return [(i, j, cosine) for (i, j), cosine in best]
