"""How much different dimensions say the same: what Barlow Twins and VICReg push to 0."""

from typing import Any

import torch
from torch import Tensor

_ENTRIES = 2**20  # of a block of the product: 4 MB in float32


def off_diagonal_square(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Sum of the squares of all entries of `a^T b` but its diagonal, b being a if not given: [B, D], [B, D] -> [].

    The product [D, D] is made a block of rows at a time, and never held whole (except to be differentiated twice).
    """
    out: Tensor = _OffDiagonalSquare.apply(a, b)
    return out


class _OffDiagonalSquare(torch.autograd.Function):
    # A sum of squares is known to its gradient but for a factor when it is made: each block is made once.

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None) -> Tensor:
        d = a.shape[1]
        other = a if b is None else b
        wants_a, wants_b = ctx.needs_input_grad
        half_a = torch.empty_like(a) if wants_a else None
        half_b = torch.zeros_like(other) if wants_b else None
        total = a.new_zeros(())
        for start in range(0, d, max(1, _ENTRIES // d)):
            columns = slice(start, min(start + max(1, _ENTRIES // d), d))
            product = a[:, columns].T @ other  # [r D]
            product.diagonal(start).zero_()
            if half_a is not None:
                half_a[:, columns] = other @ product.T
            if half_b is not None:
                half_b.addmm_(a[:, columns], product)
            total += product.square_().sum()
        ctx.save_for_backward(a, b, half_a, half_b)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b, half_a, half_b = ctx.saved_tensors
        if torch.is_grad_enabled():
            with torch.autocast(a.device.type, enabled=False):
                product = a.T @ (a if b is None else b)
                product = product - product.diagonal().diag()
                half_a = (a if b is None else b) @ product.T
                half_b = None if b is None else a @ product
        factor = grad * (4 if b is None else 2)
        return (None if half_a is None else factor * half_a), (None if half_b is None else factor * half_b)
