"""Objectives: pure functions of embeddings, each with a thin nn.Module twin. Exact, and linear in memory."""

from nearfar.losses.alignment import alignment, uniformity
from nearfar.losses.clip import CLIPLoss, clip
from nearfar.losses.cross_entropy import ContrastiveCrossEntropyLoss, contrastive_cross_entropy
from nearfar.losses.debiased import DebiasedLoss, debiased
from nearfar.losses.decoupled import DCLLoss, DCLWLoss, dcl, dclw
from nearfar.losses.hard_negative import HCLLoss, hcl
from nearfar.losses.info_nce import InfoNCELoss, info_nce
from nearfar.losses.labelled_nt_xent import LabelledNTXentLoss, labelled_nt_xent
from nearfar.losses.moco import MoCoLoss, moco
from nearfar.losses.multi_positive import MultiPositiveLoss, multi_positive
from nearfar.losses.nt_xent import NTXentLoss, nt_xent
from nearfar.losses.selection import HardestNegativeLoss, WeightedNegativesLoss, hardest_negative, weighted_negatives
from nearfar.losses.siglip import SigLIPLoss, siglip
from nearfar.losses.sup_con import SupConLoss, sup_con

__all__ = [
    "CLIPLoss",
    "ContrastiveCrossEntropyLoss",
    "DCLLoss",
    "DCLWLoss",
    "DebiasedLoss",
    "HCLLoss",
    "HardestNegativeLoss",
    "InfoNCELoss",
    "LabelledNTXentLoss",
    "MoCoLoss",
    "MultiPositiveLoss",
    "NTXentLoss",
    "SigLIPLoss",
    "SupConLoss",
    "WeightedNegativesLoss",
    "alignment",
    "clip",
    "contrastive_cross_entropy",
    "dcl",
    "dclw",
    "debiased",
    "hardest_negative",
    "hcl",
    "info_nce",
    "labelled_nt_xent",
    "moco",
    "multi_positive",
    "nt_xent",
    "siglip",
    "sup_con",
    "uniformity",
    "weighted_negatives",
]
