"""Objectives: pure functions of embeddings, each with a thin nn.Module twin. Exact, and linear in memory."""

from nearfar.losses.alignment import AlignmentLoss, UniformityLoss, alignment, uniformity
from nearfar.losses.angle import AnglELoss, angle
from nearfar.losses.arc_face import ArcFaceLoss, arc_face
from nearfar.losses.barlow_twins import BarlowTwinsLoss, barlow_twins
from nearfar.losses.bpr import BPRLoss, bpr
from nearfar.losses.circle import CircleLoss, circle
from nearfar.losses.clip import CLIPLoss, clip
from nearfar.losses.contrastive import ContrastiveLoss, LabelledContrastiveLoss, contrastive, labelled_contrastive
from nearfar.losses.cos_face import CosFaceLoss, cos_face
from nearfar.losses.cosent import CoSENTLoss, cosent
from nearfar.losses.cross_entropy import ContrastiveCrossEntropyLoss, contrastive_cross_entropy
from nearfar.losses.debiased import DebiasedLoss, debiased
from nearfar.losses.decoupled import DCLLoss, DCLWLoss, dcl, dclw
from nearfar.losses.dino import DINOLoss, dino, dino_center
from nearfar.losses.direct_clr import DirectCLRLoss, direct_clr
from nearfar.losses.emp_ssl import EMPSSLLoss, emp_ssl
from nearfar.losses.gist import GISTEmbedLoss, gist_embed
from nearfar.losses.hard_negative import HCLLoss, hcl
from nearfar.losses.ibot import IBOTPatchLoss, ibot_patch
from nearfar.losses.info_nce import InfoNCELoss, info_nce
from nearfar.losses.koleo import KoLeoLoss, koleo
from nearfar.losses.labelled_nt_xent import LabelledNTXentLoss, labelled_nt_xent
from nearfar.losses.lejepa import LeJEPALoss, SIGReg, lejepa, sigreg
from nearfar.losses.memory import CrossBatchMemory
from nearfar.losses.mmcr import MMCRLoss, mmcr
from nearfar.losses.moco import MoCoLoss, moco
from nearfar.losses.msn import MSNLoss, PMSNCustomLoss, PMSNLoss, msn
from nearfar.losses.multi_positive import MultiPositiveLoss, multi_positive
from nearfar.losses.multi_similarity import MultiSimilarityLoss, multi_similarity
from nearfar.losses.n_pair import NPairLoss, n_pair
from nearfar.losses.nnclr import NNCLRLoss, nnclr
from nearfar.losses.nt_xent import NTXentLoss, nt_xent
from nearfar.losses.pearson import PearsonLoss, pearson
from nearfar.losses.proxy_anchor import ProxyAnchorLoss, proxy_anchor
from nearfar.losses.proxy_nca import ProxyNCALoss, proxy_nca
from nearfar.losses.regression import BYOLLoss, NegativeCosineSimilarity, SimSiamLoss, byol, negative_cosine, simsiam
from nearfar.losses.seed import SEEDLoss, seed_distill
from nearfar.losses.selection import HardestNegativeLoss, WeightedNegativesLoss, hardest_negative, weighted_negatives
from nearfar.losses.siglip import SigLIPLoss, siglip
from nearfar.losses.sup_con import SupConLoss, sup_con
from nearfar.losses.swav import SwaVLoss, sinkhorn, swav
from nearfar.losses.tico import TiCoLoss, tico, tico_covariance
from nearfar.losses.triplet import LabelledTripletLoss, TripletLoss, labelled_triplet, triplet
from nearfar.losses.vicreg import VICRegLoss, vicreg

__all__ = [
    "AlignmentLoss",
    "AnglELoss",
    "ArcFaceLoss",
    "BPRLoss",
    "BYOLLoss",
    "BarlowTwinsLoss",
    "CLIPLoss",
    "CircleLoss",
    "CoSENTLoss",
    "ContrastiveCrossEntropyLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CrossBatchMemory",
    "DCLLoss",
    "DCLWLoss",
    "DINOLoss",
    "DebiasedLoss",
    "DirectCLRLoss",
    "EMPSSLLoss",
    "GISTEmbedLoss",
    "HCLLoss",
    "HardestNegativeLoss",
    "IBOTPatchLoss",
    "InfoNCELoss",
    "KoLeoLoss",
    "LabelledContrastiveLoss",
    "LabelledNTXentLoss",
    "LabelledTripletLoss",
    "LeJEPALoss",
    "MMCRLoss",
    "MSNLoss",
    "MoCoLoss",
    "MultiPositiveLoss",
    "MultiSimilarityLoss",
    "NNCLRLoss",
    "NPairLoss",
    "NTXentLoss",
    "NegativeCosineSimilarity",
    "PMSNCustomLoss",
    "PMSNLoss",
    "PearsonLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "SEEDLoss",
    "SIGReg",
    "SigLIPLoss",
    "SimSiamLoss",
    "SupConLoss",
    "SwaVLoss",
    "TiCoLoss",
    "TripletLoss",
    "UniformityLoss",
    "VICRegLoss",
    "WeightedNegativesLoss",
    "alignment",
    "angle",
    "arc_face",
    "barlow_twins",
    "bpr",
    "byol",
    "circle",
    "clip",
    "contrastive",
    "contrastive_cross_entropy",
    "cos_face",
    "cosent",
    "dcl",
    "dclw",
    "debiased",
    "dino",
    "dino_center",
    "direct_clr",
    "emp_ssl",
    "gist_embed",
    "hardest_negative",
    "hcl",
    "ibot_patch",
    "info_nce",
    "koleo",
    "labelled_contrastive",
    "labelled_nt_xent",
    "labelled_triplet",
    "lejepa",
    "mmcr",
    "moco",
    "msn",
    "multi_positive",
    "multi_similarity",
    "n_pair",
    "negative_cosine",
    "nnclr",
    "nt_xent",
    "pearson",
    "proxy_anchor",
    "proxy_nca",
    "seed_distill",
    "siglip",
    "sigreg",
    "simsiam",
    "sinkhorn",
    "sup_con",
    "swav",
    "tico",
    "tico_covariance",
    "triplet",
    "uniformity",
    "vicreg",
    "weighted_negatives",
]
