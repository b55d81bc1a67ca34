"""Pairs and triplets by a margin."""

from typing import Any

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.kernels import row_blocks
from nearfar.losses.pml.miners.base import BaseMiner
from nearfar.losses.pml.tuples import Indices


class PairMarginMiner(BaseMiner):
    """Positive pairs farther than pos_margin and negative pairs nearer than neg_margin."""

    def __init__(self, pos_margin: float = 0.2, neg_margin: float = 0.8, **kwargs: Any):
        super().__init__(**kwargs)
        self.pos_margin = pos_margin
        self.neg_margin = neg_margin

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """(a1, p, a2, n)."""
        parts: list[Indices] = [(labels.new_zeros(0, dtype=torch.long),) * 4]
        for start, distances, positive, negative in self.blocks(embeddings, labels, ref_emb, ref_labels):
            a1, p = (positive & (self.distance.margin(distances, self.pos_margin) > 0)).nonzero(as_tuple=True)
            a2, n = (negative & (self.distance.margin(self.neg_margin, distances) > 0)).nonzero(as_tuple=True)
            parts.append((a1 + start, p, a2 + start, n))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))


class TripletMarginMiner(BaseMiner):
    """Triplets by how much farther the negative is than the positive.

    type_of_triplets: "all" (by the margin at most), "hard" (not at all), "semihard" (by the margin at most, but some)
    or "easy" (by more than the margin).
    """

    kinds = ("all", "hard", "semihard", "easy")

    def __init__(self, margin: float = 0.2, type_of_triplets: str = "all", **kwargs: Any):
        super().__init__(**kwargs)
        known = ", ".join(map(repr, self.kinds))
        must(type_of_triplets in self.kinds, f"type_of_triplets must be one of {known}", got=type_of_triplets)
        self.margin = margin
        self.type_of_triplets = type_of_triplets

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """(a, p, n)."""
        parts: list[Indices] = [(labels.new_zeros(0, dtype=torch.long),) * 3]
        for start, distances, positive, negative in self.blocks(embeddings, labels, ref_emb, ref_labels):
            anchors, positives = positive.nonzero(as_tuple=True)
            for at in row_blocks(len(anchors), len(ref_emb)):
                a, p = anchors[at], positives[at]
                gap = self.distance.margin(distances[a], distances[a, p][:, None])  # [k N]
                pair, n = (negative[a] & self._wanted(gap)).nonzero(as_tuple=True)
                parts.append((a[pair] + start, p[pair], n))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def _wanted(self, gap: Tensor) -> Tensor:
        if self.type_of_triplets == "easy":
            return gap > self.margin
        within = gap <= self.margin
        if self.type_of_triplets == "hard":
            return within & (gap <= 0)
        return within & (gap > 0) if self.type_of_triplets == "semihard" else within
