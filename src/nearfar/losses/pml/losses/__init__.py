"""Losses of embeddings and labels, and the two that wrap them."""

from nearfar.losses.pml.losses.base import BaseMetricLossFunction
from nearfar.losses.pml.losses.circle import CircleLoss
from nearfar.losses.pml.losses.contrastive import ContrastiveLoss
from nearfar.losses.pml.losses.cross_batch_memory import CrossBatchMemory
from nearfar.losses.pml.losses.margin_softmax import ArcFaceLoss, CosFaceLoss
from nearfar.losses.pml.losses.multi_similarity import MultiSimilarityLoss
from nearfar.losses.pml.losses.n_pairs import NPairsLoss
from nearfar.losses.pml.losses.normalized_softmax import NormalizedSoftmaxLoss
from nearfar.losses.pml.losses.ntxent import NTXentLoss
from nearfar.losses.pml.losses.proxies import ProxyAnchorLoss, ProxyNCALoss
from nearfar.losses.pml.losses.self_supervised import SelfSupervisedLoss
from nearfar.losses.pml.losses.supcon import SupConLoss
from nearfar.losses.pml.losses.triplet_margin import TripletMarginLoss
from nearfar.losses.pml.losses.vicreg import VICRegLoss

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
