"""BPR: what belongs to an anchor scores above what does not, pair by pair.

Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009, section 4.1: the mean of
-log sigmoid(s(u, i) - s(u, j)) over triples of a user u, an item i that u had and another item j. Anchors are the first
views, their positives the second ones, and the negatives of sample i the positives of the samples behind it in the
batch.

Differs from the paper: scores are cosines over a temperature; negatives come as often as they are had by others, where
the paper draws all alike; samples of equal content (`ids`) are not each other's negatives.
"""

import torch
from torch.nn.functional import normalize

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.losses import bpr
from nearfar.methods.heads import Projected
from nearfar.methods.options import BPROptions


class BPR(Projected):
    """An encoder with a projector, under BPR."""

    Options = BPROptions
    options: BPROptions
    requires = Requirements(wide=2)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """BPR of the own rows against others of all ranks."""
        anchors, positives = (normalize(side, dim=-1) for side in z["z"][:2])
        n = len(anchors)
        places = torch.arange(n, device=anchors.device)
        behind = torch.arange(1, min(self.options.negatives, n - 1) + 1, device=anchors.device)
        others = (places[:, None] + behind) % n  # [n, K]
        losses = bpr(
            anchors / self.options.temperature, positives, positives[others], rows=batch.rows, reduction="none"
        )  # [rows, K]
        counts = (batch.ids[others] != batch.ids[:, None])[batch.rows].to(losses.dtype)
        return Losses((losses * counts).sum() / (n * len(behind)))


METHOD = BPR
