"""Embeddings as losses want them: wide enough to compute with, and for cosines of length one."""

from typing import Any

import torch
from torch import Tensor

from nearfar.errors import DataError

_BLOCK = 4096  # rows at a time in the backward pass: temporaries stay small beside the embeddings


def unit(z: Tensor, *, overwrite: bool = False) -> Tensor:
    """Divide each row by its Euclidean length: [..., D] -> [..., D], in float32 (float64 stays float64).

    Lengths neither overflow nor underflow. A zero row has no direction: it stays 0 and gets gradient 0, and so does one
    without any normal number. With `overwrite`, z is a tensor of the caller's own making that may be written on.
    """
    exact = wide(z)
    out: Tensor = _Unit.apply(exact, overwrite or exact is not z)[0]
    return out


def wide(z: Tensor) -> Tensor:
    """z in float32 (float64 stays float64), which all losses compute in. Raises DataError for integers."""
    if not z.is_floating_point():
        raise DataError(f"Embeddings must be floating point, got {z.dtype}: pass z.float().")
    return z if z.dtype == torch.float64 else z.float()


def shared_half(*z: Tensor | None) -> torch.dtype | None:
    """The half precision that all came in, or None: unit rows lose no more by it than their elements had lost."""
    types = {x.dtype for x in z if x is not None}
    return types.pop() if len(types) == 1 and types <= {torch.bfloat16, torch.float16} else None


class _Unit(torch.autograd.Function):
    # Keeps the result and the lengths, and not the input; both being outputs, second derivatives come out right.

    @staticmethod
    def forward(ctx: Any, z: Tensor, overwrite: bool) -> tuple[Tensor, Tensor]:
        tiny = torch.finfo(z.dtype).tiny
        largest = torch.linalg.vector_norm(z, torch.inf, dim=-1, keepdim=True)
        # Squares of what is scaled to about 1 stay in range, and so does the factor itself.
        factor = largest.clamp(min=tiny).reciprocal_().clamp_(min=tiny)
        if overwrite:
            ctx.mark_dirty(z)
        u = z.mul_(factor) if overwrite else z * factor
        inverse = u.norm(dim=-1, keepdim=True).reciprocal_().masked_fill_(largest < tiny, 0.0)
        u.mul_(inverse)
        inverse.mul_(factor)
        ctx.save_for_backward(u, inverse)
        return u, inverse

    @staticmethod
    def backward(ctx: Any, grad_u: Tensor, grad_inverse: Tensor) -> tuple[Tensor, None]:
        u, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _gradient(u, inverse, grad_u, grad_inverse), None
        out = torch.empty_like(u)
        blocks = (t.split(_BLOCK) for t in (out, u, inverse, grad_u, grad_inverse))
        for part, *args in zip(*blocks, strict=True):
            part.copy_(_gradient(*args))
        return out, None


def _gradient(u: Tensor, inverse: Tensor, grad_u: Tensor, grad_inverse: Tensor) -> Tensor:
    along = (u * grad_u).sum(-1, keepdim=True) + inverse * grad_inverse
    return (grad_u - u * along) * inverse
