"""Retrieval among embeddings: how early do the samples of the query's class come?

Names are ambiguous in the field, so they are spelled out here. `hit@k` (metric learning's "recall@k", CMC) is 1 where
any of the first k is relevant; `recall@k` (information retrieval's) is the share of the relevant found among the first
k. MAP@R and R-precision: Musgrave et al. 2020 (2003.08505), section 3.2. nDCG: Jarvelin and Kekalainen 2002.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.errors import DataError, must
from nearfar.evaluation.knn import full_precision, unit_rows

_TILE = 2**23


@dataclass(frozen=True)
class Retrieval:
    """Scores of each query that has something to find: name -> `[Q']` float64; `skipped` queries have nothing."""

    scores: dict[str, Tensor]
    rows: Tensor
    """`[Q']`: the numbers of these queries."""
    queries: int
    gallery: int
    skipped: int

    def means(self) -> dict[str, float]:
        """Average each score over the queries."""
        return {name: float(values.mean()) for name, values in self.scores.items()}


def ranked_scores(relevance: Tensor, *, at: tuple[int, ...] = (1, 5, 10)) -> dict[str, Tensor]:
    """Score rankings given as relevance, best first: `[Q, N]` bool -> name -> `[Q]` float64.

    Every query must have something relevant; R is how many. Names: precision@1, hit@k, recall@k, ndcg@k for k in
    `at`, r_precision, map@r, mrr.
    """
    total = relevance.sum(dim=1)
    first = relevance.to(torch.uint8).argmax(dim=1)
    deep = max(int(total.max()), *at)  # no score but mrr looks deeper than R or k
    hits = relevance[:, :deep].to(torch.float32 if relevance.device.type == "mps" else torch.float64)  # [q deep]
    places = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=hits.dtype)
    found = hits.cumsum(dim=1)
    within = places <= total[:, None]  # the first R places
    discount = 1 / torch.log2(places + 1)
    ideal = discount.cumsum(dim=0)
    scores = {"precision@1": hits[:, 0]}
    for k in at:
        end = min(k, hits.shape[1])
        scores[f"hit@{k}"] = (found[:, end - 1] > 0).to(hits.dtype)
        scores[f"recall@{k}"] = found[:, end - 1] / total
        best = ideal[total.clamp(max=end) - 1]
        scores[f"ndcg@{k}"] = (hits[:, :end] * discount[:end]).sum(dim=1) / best
    scores["r_precision"] = (hits * within).sum(dim=1) / total
    scores["map@r"] = (hits * within * found / places).sum(dim=1) / total
    scores["mrr"] = 1 / (first + 1).to(hits.dtype)
    return scores


@torch.no_grad()
def retrieve(
    queries: Tensor,
    query_labels: Tensor,
    gallery: Tensor | None = None,
    gallery_labels: Tensor | None = None,
    *,
    at: tuple[int, ...] = (1, 5, 10),
    limit: int = 2000,
    seed: int = 0,
) -> Retrieval:
    """Rank a gallery `[N, D]` for each query `[Q, D]` by cosine; relevant is what has the query's label.

    Without a gallery the queries search each other, never themselves. Pairs (text to image) are labels `arange(N)` on
    both sides. At most `limit` queries, drawn by the seed, are asked; the gallery is always whole. Equal similarities
    are ranked in a random order, anew for each few queries, so that ties gain and lose nothing on average: a constant
    embedding scores what chance does. Label -1 is relevant to nothing. Raises DataError where no query has anything
    to find.
    """
    must(bool(at) and min(at) >= 1, "at must hold ranks >= 1", got=at)
    must(limit >= 1, "limit must be >= 1", got=limit)
    alone = gallery is None
    if (gallery is None) != (gallery_labels is None):
        raise DataError("Give the gallery and its labels together, or neither.")
    there = queries if gallery is None else gallery
    names = query_labels if gallery_labels is None else gallery_labels
    if queries.shape[1:] != there.shape[1:] or len(query_labels) != len(queries) or len(names) != len(there):
        raise DataError(
            f"Queries {list(queries.shape)} and gallery {list(there.shape)} must be equally wide, with one label a row "
            f"({len(query_labels)} and {len(names)} labels)."
        )
    device = there.device
    unit, asked = unit_rows(there), unit_rows(queries.to(device))
    query_labels, names = query_labels.to(device), names.to(device)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(asked), generator=generator)[:limit].sort().values.to(device)
    rows = max(1, min(128, _TILE // max(len(unit), 1)))
    parts: list[dict[str, Tensor]] = []
    answered: list[Tensor] = []
    skipped = 0
    with full_precision(device):
        for own in torch.split(chosen, rows):
            order = torch.randperm(len(unit), generator=generator).to(device)
            same = (query_labels[own, None] == names[None, order]) & (query_labels[own, None] >= 0)
            similarity = (asked[own] @ unit.T)[:, order]
            if alone:
                itself = order == own[:, None]
                similarity[itself] = -torch.inf
                same &= ~itself
            askable = same.any(dim=1)
            skipped += len(own) - int(askable.sum())
            ranking = similarity[askable].argsort(dim=1, descending=True, stable=True)
            if len(ranking):
                answered.append(own[askable].cpu())
                relevance = same[askable].gather(1, ranking)
                parts.append({k: v.cpu().double() for k, v in ranked_scores(relevance, at=at).items()})
    if not parts:
        raise DataError("No query has a sample of its own label to find; retrieval needs two of some label.")
    scores = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Retrieval(scores, torch.cat(answered), len(chosen) - skipped, len(unit), skipped)
