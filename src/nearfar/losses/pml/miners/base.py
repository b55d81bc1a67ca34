"""What all miners share: the call, and the matrix a block of rows at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nearfar.errors import DataError
from nearfar.losses.pml.distances import BaseDistance, LpDistance, must_be_ours, refuse_stats
from nearfar.losses.pml.tuples import Indices, checked, masks


class Block(NamedTuple):
    """Distances [r, N] of the anchors from `start` on, and which of the pairs are positive and which negative."""

    start: int
    distances: Tensor
    positive: Tensor
    negative: Tensor


class BaseMiner(nn.Module):
    """Chooses pairs or triplets by their distances: `miner(embeddings, labels, ref_emb=None, ref_labels=None)`.

    Returns (anchors, positives, negatives) or (anchors, positives, anchors, negatives): indices of rows of embeddings
    first, of ref_emb (embeddings where there is none) after. Memory is linear in the batch and in what is found.
    A subclass defines `mine`, which is given references always.
    """

    def __init__(self, distance: BaseDistance | None = None, collect_stats: bool | None = None):
        super().__init__()
        refuse_stats(collect_stats)
        self.distance = self.get_default_distance() if distance is None else distance
        must_be_ours(self.distance, BaseDistance)

    @torch.no_grad()
    def forward(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> Indices:
        """The indices found; how many is kept as num_triplets, or num_pos_pairs and num_neg_pairs."""
        mined, ref_emb, ref_labels = checked(embeddings, labels, ref_emb, ref_labels)
        if mined is None or ref_labels is None:
            raise DataError("A miner needs labels, and ref_labels with ref_emb.")
        found = self.mine(embeddings, mined, ref_emb, ref_labels)
        if len(found) == 3:
            self.num_triplets = len(found[0])
        else:
            self.num_pos_pairs, self.num_neg_pairs = len(found[0]), len(found[2])
        return found

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """The indices found."""
        raise NotImplementedError

    def get_default_distance(self) -> BaseDistance:
        """The distance where none is given."""
        return LpDistance(p=2)

    def blocks(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Iterator[Block]:
        """All distances, a block of rows at a time."""
        for at, distances in self.distance.blocks(embeddings, ref_emb):
            yield Block(at.start, distances, *masks(labels, ref_labels, at))
