"""Objectives: pure functions of embeddings, each with a thin nn.Module twin. Exact, and linear in memory."""

from nearfar.losses.alignment import alignment, uniformity
from nearfar.losses.circle import CircleLoss, circle
from nearfar.losses.contrastive import ContrastiveLoss, LabelledContrastiveLoss, contrastive, labelled_contrastive
from nearfar.losses.info_nce import CLIPLoss, InfoNCELoss, clip, info_nce
from nearfar.losses.multi_similarity import MultiSimilarityLoss, multi_similarity
from nearfar.losses.n_pair import NPairLoss, n_pair
from nearfar.losses.nt_xent import NTXentLoss, nt_xent
from nearfar.losses.triplet import LabelledTripletLoss, TripletLoss, labelled_triplet, triplet

__all__ = [
    "CLIPLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "InfoNCELoss",
    "LabelledContrastiveLoss",
    "LabelledTripletLoss",
    "MultiSimilarityLoss",
    "NPairLoss",
    "NTXentLoss",
    "TripletLoss",
    "alignment",
    "circle",
    "clip",
    "contrastive",
    "info_nce",
    "labelled_contrastive",
    "labelled_triplet",
    "multi_similarity",
    "n_pair",
    "nt_xent",
    "triplet",
    "uniformity",
]
