"""Losses of embeddings and labels, and the two that wrap them."""

from nearfar.losses.pml.losses.base import BaseMetricLossFunction
from nearfar.losses.pml.losses.memory import CrossBatchMemory, SelfSupervisedLoss
from nearfar.losses.pml.losses.of_classes import (
    ArcFaceLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    ProxyAnchorLoss,
    ProxyNCALoss,
)
from nearfar.losses.pml.losses.of_tuples import (
    CircleLoss,
    ContrastiveLoss,
    MultiSimilarityLoss,
    NPairsLoss,
    NTXentLoss,
    SupConLoss,
    TripletMarginLoss,
    VICRegLoss,
)

__all__ = [
    "ArcFaceLoss",
    "BaseMetricLossFunction",
    "CircleLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CrossBatchMemory",
    "MultiSimilarityLoss",
    "NPairsLoss",
    "NTXentLoss",
    "NormalizedSoftmaxLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "SelfSupervisedLoss",
    "SupConLoss",
    "TripletMarginLoss",
    "VICRegLoss",
]
