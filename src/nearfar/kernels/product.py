"""Matrix products whose gradient is as exact as their value, wherever the backward pass is called."""

from typing import Any

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b`, [M, D], [D, N] -> [M, N], or batches of them; can be differentiated twice.

    Autograd's own would make the products of the backward pass in half precision where that runs under autocast.
    """
    out: Tensor = _Product.apply(a, b)
    return out


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        with torch.autocast(a.device.type, enabled=False):
            return a @ b

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        needs_a, needs_b = ctx.needs_input_grad
        return product(grad, b.mT) if needs_a else None, product(a.mT, grad) if needs_b else None
