"""Pairs that the hardest pair of the other kind does not make easy.

Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", 2019, section 4.1.
https://arxiv.org/abs/1904.06627
"""

from typing import Any

import torch
from torch import Tensor

from nearfar.losses.pml.distances import BaseDistance, CosineSimilarity
from nearfar.losses.pml.miners.base import BaseMiner
from nearfar.losses.pml.tuples import Indices


class MultiSimilarityMiner(BaseMiner):
    """Positives less similar than the most similar negative plus epsilon, and negatives the other way round."""

    def __init__(self, epsilon: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """(a1, p, a2, n), the pairs of an anchor by rising similarity (or distance)."""
        parts: list[Indices] = [(labels.new_zeros(0, dtype=torch.long),) * 4]
        for start, distances, positive, negative in self.blocks(embeddings, labels, ref_emb, ref_labels):
            nearness = distances if self.distance.is_inverted else -distances
            best = nearness.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
            worst = nearness.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
            order = distances.argsort(1)
            found: list[Tensor] = []
            for kept in (positive & (nearness - self.epsilon < best), negative & (nearness + self.epsilon > worst)):
                rows, place = kept.gather(1, order).nonzero(as_tuple=True)
                found += [rows + start, order[rows, place]]
            parts.append(tuple(found))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()
