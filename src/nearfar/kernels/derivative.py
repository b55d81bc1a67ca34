"""What the forms in tiles share in their backward pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import ConfigError

_BLOCK = 4096  # rows at a time: temporaries stay small beside the embeddings


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """Sum over all entries of a * b, in the type of b: [M, D], [M, D] -> []."""
    total = b.new_zeros(())
    for x, y in zip(torch.split(a, _BLOCK), torch.split(b, _BLOCK), strict=True):
        total += (x * y).sum()
    return total


def only_once(grads: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The gradients; where their own graph was asked for, one that says what it lacks only when it is used."""
    if not torch.is_grad_enabled():
        return tuple(grads)
    return tuple(None if grad is None else _NoSecondDerivative.apply(grad, *sources) for grad in grads)


class _NoSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, *sources: Tensor | None) -> Tensor:
        return grad.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        raise ConfigError(
            "The log-sum-exp in tiles has no second derivative: pass implementation='dense' to the loss to "
            "differentiate it twice (memory grows with the square of the batch)."
        )
