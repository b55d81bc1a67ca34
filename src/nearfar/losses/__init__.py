"""Objectives: pure functions of embeddings, each with a thin nn.Module twin. Exact, and linear in memory."""

from nearfar.losses.alignment import alignment, uniformity
from nearfar.losses.info_nce import CLIPLoss, InfoNCELoss, clip, info_nce
from nearfar.losses.nt_xent import NTXentLoss, nt_xent

__all__ = ["CLIPLoss", "InfoNCELoss", "NTXentLoss", "alignment", "clip", "info_nce", "nt_xent", "uniformity"]
