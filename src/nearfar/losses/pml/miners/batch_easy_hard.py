"""One positive and one negative for each anchor: the easiest, the hardest, or the hardest that is still right.

Xuan et al., "Improved Embeddings with Easy Positive Triplet Mining", 2020. https://arxiv.org/abs/1904.04370
Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017. https://arxiv.org/abs/1703.07737
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nearfar.errors import ConfigError, must
from nearfar.losses.pml.miners.base import BaseMiner, Block
from nearfar.losses.pml.tuples import Indices

Range = tuple[float, float]


class BatchEasyHardMiner(BaseMiner):
    """Pairs (a, p, a, n) by a strategy for positives and one for negatives.

    "hard" is the farthest positive, the nearest negative; "easy" the other way round; "semihard" the hardest that is
    nearer than the negative, or farther than the positive, which must be chosen otherwise; "all" takes all pairs. Only
    distances within allowed_pos_range and allowed_neg_range (both ends included) count. An anchor that lacks either has
    no pair, unless one strategy is "all": then each kind is for itself.
    """

    HARD = "hard"
    SEMIHARD = "semihard"
    EASY = "easy"
    ALL = "all"
    all_batch_mining_strategies = (HARD, SEMIHARD, EASY, ALL)

    def __init__(
        self,
        pos_strategy: str = EASY,
        neg_strategy: str = SEMIHARD,
        allowed_pos_range: Range | None = None,
        allowed_neg_range: Range | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        known = self.all_batch_mining_strategies
        for name, strategy in (("pos_strategy", pos_strategy), ("neg_strategy", neg_strategy)):
            must(strategy in known, f"{name} must be one of {', '.join(map(repr, known))}", got=strategy)
        if self.SEMIHARD in (pos_strategy, neg_strategy) and {pos_strategy, neg_strategy} <= {self.SEMIHARD, self.ALL}:
            raise ConfigError(
                "'semihard' is said of one pair against another: the other strategy must be hard or easy."
            )
        self.pos_strategy = pos_strategy
        self.neg_strategy = neg_strategy
        self.allowed_pos_range = allowed_pos_range
        self.allowed_neg_range = allowed_neg_range

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """(a1, p, a2, n)."""
        none = labels.new_zeros(0, dtype=torch.long)
        parts = [(none,) * 4]
        for block in self.blocks(embeddings, labels, ref_emb, ref_labels):
            a1, p, a2, n = self._of_block(block)
            parts.append((a1 + block.start, p, a2 + block.start, n))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def _of_block(self, block: Block) -> Indices:
        if self.ALL in (self.pos_strategy, self.neg_strategy):
            kinds = (
                (self.pos_strategy, block.positive, self._positives),
                (self.neg_strategy, block.negative, self._negatives),
            )
            a1, p, a2, n = (
                part
                for strategy, all_of_them, chosen in kinds
                for part in (all_of_them.nonzero(as_tuple=True) if strategy == self.ALL else chosen(block).pairs())
            )
            return a1, p, a2, n
        if self.pos_strategy == self.SEMIHARD:
            negatives = self._negatives(block)
            positives = self._positives(block, nearer_than=negatives)
        else:
            positives = self._positives(block)
            negatives = self._negatives(block, farther_than=positives if self.neg_strategy == self.SEMIHARD else None)
        (anchors,) = (positives.found & negatives.found).nonzero(as_tuple=True)
        return anchors, positives.columns[anchors], anchors, negatives.columns[anchors]

    def _positives(self, block: Block, nearer_than: "_Chosen | None" = None) -> "_Chosen":
        candidates = block.positive & _within(block.distances, self.allowed_pos_range)
        if nearer_than is not None:
            candidates &= self.distance.margin(nearer_than.values[:, None], block.distances) > 0
        return self._choose(block.distances, candidates, farthest=self.pos_strategy != self.EASY)

    def _negatives(self, block: Block, farther_than: "_Chosen | None" = None) -> "_Chosen":
        candidates = block.negative & _within(block.distances, self.allowed_neg_range)
        if farther_than is not None:
            candidates &= self.distance.margin(block.distances, farther_than.values[:, None]) > 0
        return self._choose(block.distances, candidates, farthest=self.neg_strategy == self.EASY)

    def _choose(self, distances: Tensor, candidates: Tensor, *, farthest: bool) -> "_Chosen":
        largest = farthest != self.distance.is_inverted
        entries = distances.masked_fill(~candidates, -torch.inf if largest else torch.inf)
        values, columns = entries.max(1) if largest else entries.min(1)
        return _Chosen(values, columns, candidates.any(1))


class BatchHardMiner(BatchEasyHardMiner):
    """Triplets (a, p, n) of every anchor with its farthest positive and its nearest negative."""

    def __init__(self, **kwargs: Any):
        super().__init__(pos_strategy=self.HARD, neg_strategy=self.HARD, **kwargs)

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Indices:
        """(a, p, n)."""
        a, p, _, n = super().mine(embeddings, labels, ref_emb, ref_labels)
        return a, p, n


class _Chosen(NamedTuple):
    """One column for each row of a block, its distance, and whether there was a candidate at all."""

    values: Tensor
    columns: Tensor
    found: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        (rows,) = self.found.nonzero(as_tuple=True)
        return rows, self.columns[rows]


def _within(distances: Tensor, allowed: Range | None) -> Tensor | bool:
    return True if allowed is None else (allowed[0] <= distances) & (distances <= allowed[1])
