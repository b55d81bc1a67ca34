"""What the kernels that make their tiles again in the backward pass lack: a second derivative."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import ConfigError


def no_second_derivative(grads: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The gradients as they are; where a graph of them was asked for, one that raises ConfigError when it is used."""
    if not torch.is_grad_enabled():
        return tuple(grads)
    return tuple(None if g is None else _NoSecondDerivative.apply(g, *sources) for g in grads)


class _NoSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, *sources: Tensor | None) -> Tensor:
        return grad.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        raise ConfigError(
            "The tiled form of a loss has no second derivative: pass implementation='dense' to the loss to "
            "differentiate it twice (memory grows with the square of the batch)."
        )
