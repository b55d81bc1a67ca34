"""Miners: which pairs or triplets of a batch a loss should compare."""

from nearfar.losses.pml.miners.base import BaseMiner
from nearfar.losses.pml.miners.batch_easy_hard import BatchEasyHardMiner, BatchHardMiner
from nearfar.losses.pml.miners.distance_weighted import DistanceWeightedMiner
from nearfar.losses.pml.miners.margins import PairMarginMiner, TripletMarginMiner
from nearfar.losses.pml.miners.multi_similarity import MultiSimilarityMiner

__all__ = [
    "BaseMiner",
    "BatchEasyHardMiner",
    "BatchHardMiner",
    "DistanceWeightedMiner",
    "MultiSimilarityMiner",
    "PairMarginMiner",
    "TripletMarginMiner",
]
