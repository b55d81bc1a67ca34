"""The numerical core of the losses: similarities reduced tile by tile, never held whole."""

from nearfar.kernels.dense import masked_logsumexp
from nearfar.kernels.extremes import Extremes, extremes
from nearfar.kernels.logsumexp import IMPLEMENTATIONS, choose, row_column_lse, row_lse, self_lse
from nearfar.kernels.pairs import ALL_PAIRS, Pairs
from nearfar.kernels.product import product
from nearfar.kernels.ring import Ring
from nearfar.kernels.rows import row_blocks, row_scores
from nearfar.kernels.softplus import row_softplus, softplus

__all__ = [
    "ALL_PAIRS",
    "IMPLEMENTATIONS",
    "Extremes",
    "Pairs",
    "Ring",
    "choose",
    "extremes",
    "masked_logsumexp",
    "product",
    "row_blocks",
    "row_column_lse",
    "row_lse",
    "row_scores",
    "row_softplus",
    "self_lse",
    "softplus",
]
