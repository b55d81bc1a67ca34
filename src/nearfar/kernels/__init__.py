"""The numerical core of the losses: similarities reduced tile by tile, never held whole."""

from nearfar.kernels.logsumexp import IMPLEMENTATIONS, choose, row_column_lse, row_lse, self_lse
from nearfar.kernels.pairs import ALL_PAIRS, Pairs

__all__ = ["ALL_PAIRS", "IMPLEMENTATIONS", "Pairs", "choose", "row_column_lse", "row_lse", "self_lse"]
