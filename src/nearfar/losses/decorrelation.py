"""How much different dimensions say the same: what Barlow Twins and VICReg push to 0."""

import torch
from torch import Tensor

from nearfar.losses.blockwise import blockwise


def off_diagonal_square(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the squares of all entries of `a^T b` but its diagonal: [B, D], [B, D] -> [].

    The product [D, D] is made in blocks of its rows, and again in the backward pass, and never held whole.
    """
    d = a.shape[1]
    dims = torch.arange(d, device=a.device)
    return blockwise(_row_squares, a.T, dims, width=d, whole=(b,)).sum()


def _row_squares(rows: Tensor, dims: Tensor, b: Tensor) -> Tensor:
    product = rows @ b  # [r D]
    return product.scatter(1, dims.unsqueeze(1), 0.0).square().sum(1)
