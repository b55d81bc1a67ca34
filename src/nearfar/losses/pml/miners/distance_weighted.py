"""Negatives drawn so that all distances are equally likely, however many there are of each.

Wu et al., "Sampling Matters in Deep Embedding Learning", 2017, section 4. https://arxiv.org/abs/1706.07567
"""

from typing import Any

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.kernels import row_blocks
from nearfar.losses.core.distance import wide_dtype
from nearfar.losses.mining.distance_weighted import log_weights
from nearfar.losses.pml.miners.base import BaseMiner
from nearfar.losses.pml.tuples import Indices, random_positives


class DistanceWeightedMiner(BaseMiner):
    """Triplets (a, p, n): for each anchor as many as its class has references, p drawn evenly.

    n is drawn with probability 1 / q(d), q the density of distances d of evenly spread unit vectors of this width, d no
    less than cutoff; negatives from nonzero_loss_cutoff on are left out, and anchors without any other. Drawn from
    torch's generator.
    """

    def __init__(self, cutoff: float = 0.5, nonzero_loss_cutoff: float = 1.4, **kwargs: Any):
        super().__init__(**kwargs)
        plain = self.distance.plain()
        must(plain == ("euclidean", True), "DistanceWeightedMiner compares by LpDistance() of unit vectors alone",
             got=self.distance)  # fmt: skip
        self.cutoff = float(cutoff)
        self.nonzero_loss_cutoff = float(nonzero_loss_cutoff)

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """(a, p, n)."""
        anchors, positives, *_ = random_positives(labels, ref_labels)
        width = embeddings.shape[1]
        parts: list[Indices] = [(labels.new_zeros(0, dtype=torch.long),) * 3]
        for start, distances, _, negative in self.blocks(embeddings, labels, ref_emb, ref_labels):
            weights = log_weights(distances.to(wide_dtype(distances)), width, self.cutoff)
            weights.masked_fill_(~negative | (distances >= self.nonzero_loss_cutoff), -torch.inf)
            # Each row against its own largest: against that of all rows, rows without near negatives would be left out.
            largest = weights.amax(1, keepdim=True)
            sums = (weights - largest).exp().cumsum(1)
            mine = (anchors >= start) & (anchors < start + len(distances))
            rows, p = anchors[mine] - start, positives[mine]
            some = largest[rows, 0] > -torch.inf
            rows, p = rows[some], p[some]
            for at in row_blocks(len(rows), len(ref_emb)):
                sum_of = sums[rows[at]]  # [k N]
                draw = torch.rand_like(sum_of[:, :1]) * sum_of[:, -1:]
                n = torch.searchsorted(sum_of, draw, right=True).squeeze(1).clamp(max=len(ref_emb) - 1)
                parts.append((rows[at] + start, p[at], n))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))
