"""LARS: SGD whose rate follows, layer by layer, the size of the weights over the size of their gradient.

You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1. Conventions differ in
three places; here they are those of MoCo v3's and apex' code:

    g <- gradient + decay * w           the decay is in the norm below (the paper adds the two norms)
    g <- eta * |w| / |g| * g            1 where either norm is 0; biases, norms and scalars are left as they are
    m <- momentum * m + g               the rate is outside of the momentum (SimCLR's code: inside), no Nesterov
    w <- w - rate * m
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from nearfar.errors import must


class LARS(Optimizer):
    """Layer-wise adaptive rates; parameters of at most one axis get plain momentum. State: `momentum_buffer`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
    ) -> None:
        must(lr > 0, "lr must be above 0", got=lr)
        must(0 <= momentum < 1, "momentum must be in [0, 1)", got=momentum)
        must(weight_decay >= 0, "weight_decay must be 0 or more", got=weight_decay)
        must(eta > 0, "eta must be above 0", got=eta)
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_place: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_place.setdefault((weight.device, weight.dtype), []).append(weight)
            for weights in by_place.values():
                self._step(weights, group)
        return loss

    def _step(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        grads = [weight.grad for weight in weights if weight.grad is not None]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, weights, alpha=group["weight_decay"]))
        adapted = [i for i, weight in enumerate(weights) if weight.ndim > 1]
        if adapted:
            sizes = torch.stack(torch._foreach_norm([weights[i] for i in adapted]))
            slopes = torch.stack(torch._foreach_norm([grads[i] for i in adapted]))
            trusts = torch.where((sizes > 0) & (slopes > 0), group["eta"] * sizes / slopes, 1.0)
            scaled = torch._foreach_mul([grads[i] for i in adapted], list(trusts.unbind()))
            for i, grad in zip(adapted, scaled, strict=True):
                grads[i] = grad
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, grads)
        torch._foreach_add_(weights, buffers, alpha=-group["lr"])
