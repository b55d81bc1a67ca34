"""Objectives: pure functions of embeddings, each with a thin nn.Module twin. Exact, and linear in memory."""

from nearfar.losses.alignment import AlignmentLoss, UniformityLoss, alignment, uniformity
from nearfar.losses.barlow_twins import BarlowTwinsLoss, barlow_twins
from nearfar.losses.bpr import BPRLoss, bpr
from nearfar.losses.cosent import CoSENTLoss, cosent
from nearfar.losses.dino import DINOLoss, dino, dino_center
from nearfar.losses.info_nce import CLIPLoss, InfoNCELoss, clip, info_nce
from nearfar.losses.koleo import KoLeoLoss, koleo
from nearfar.losses.nt_xent import NTXentLoss, nt_xent
from nearfar.losses.regression import (
    BYOLLoss,
    NegativeCosineSimilarity,
    SimSiamLoss,
    byol,
    negative_cosine,
    simsiam,
)
from nearfar.losses.swav import SwaVLoss, sinkhorn, swav
from nearfar.losses.vicreg import VICRegLoss, vicreg

__all__ = [
    "AlignmentLoss",
    "BPRLoss",
    "BYOLLoss",
    "BarlowTwinsLoss",
    "CLIPLoss",
    "CoSENTLoss",
    "DINOLoss",
    "InfoNCELoss",
    "KoLeoLoss",
    "NTXentLoss",
    "NegativeCosineSimilarity",
    "SimSiamLoss",
    "SwaVLoss",
    "UniformityLoss",
    "VICRegLoss",
    "alignment",
    "barlow_twins",
    "bpr",
    "byol",
    "clip",
    "cosent",
    "dino",
    "dino_center",
    "info_nce",
    "koleo",
    "negative_cosine",
    "nt_xent",
    "simsiam",
    "sinkhorn",
    "swav",
    "uniformity",
    "vicreg",
]
