"""Objectives: pure functions of embeddings, each with a thin nn.Module twin. Exact, and linear in memory."""

from nearfar.losses.alignment import alignment, uniformity
from nearfar.losses.arc_face import ArcFaceLoss, arc_face
from nearfar.losses.circle import CircleLoss, circle
from nearfar.losses.contrastive import ContrastiveLoss, LabelledContrastiveLoss, contrastive, labelled_contrastive
from nearfar.losses.cos_face import CosFaceLoss, cos_face
from nearfar.losses.info_nce import CLIPLoss, InfoNCELoss, clip, info_nce
from nearfar.losses.memory import CrossBatchMemory
from nearfar.losses.multi_similarity import MultiSimilarityLoss, multi_similarity
from nearfar.losses.n_pair import NPairLoss, n_pair
from nearfar.losses.nt_xent import NTXentLoss, nt_xent
from nearfar.losses.proxy_anchor import ProxyAnchorLoss, proxy_anchor
from nearfar.losses.proxy_nca import ProxyNCALoss, proxy_nca
from nearfar.losses.triplet import LabelledTripletLoss, TripletLoss, labelled_triplet, triplet

__all__ = [
    "ArcFaceLoss",
    "CLIPLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CrossBatchMemory",
    "InfoNCELoss",
    "LabelledContrastiveLoss",
    "LabelledTripletLoss",
    "MultiSimilarityLoss",
    "NPairLoss",
    "NTXentLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "TripletLoss",
    "alignment",
    "arc_face",
    "circle",
    "clip",
    "contrastive",
    "cos_face",
    "info_nce",
    "labelled_contrastive",
    "labelled_triplet",
    "multi_similarity",
    "n_pair",
    "nt_xent",
    "proxy_anchor",
    "proxy_nca",
    "triplet",
    "uniformity",
]
