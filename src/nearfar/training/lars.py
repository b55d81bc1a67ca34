"""LARS: SGD whose rate follows, layer by layer, the norm of the weights over the norm of their gradient.

You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1, as MoCo v3 has it:

    g <- gradient + decay * w           the decay is in the norm below
    g <- eta * |w| / |g| * g            factor 1 where either norm is 0; biases, norms and scalars are left as they are
    m <- momentum * m + g               the rate is outside of the momentum (in SimCLR's code inside), no Nesterov
    w <- w - rate * m

timm's Lars computes another update: eta * |w| / (|gradient| + decay * |w|), for parameters with weight decay only.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rates; parameters of at most one axis get plain momentum. State: `momentum_buffer`."""

    def __init__(
        self, params: Iterable[Any], lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0, eta: float = 0.001
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all parameters that have a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault((weight.device, weight.dtype), []).append(weight)
            for weights in alike.values():
                self._step(weights, group)

    def _step(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        grads = [weight.grad for weight in weights if weight.grad is not None]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, weights, alpha=group["weight_decay"]))
        adapted = [i for i, weight in enumerate(weights) if weight.ndim > 1]
        if adapted:
            weight_norms = torch.stack(torch._foreach_norm([weights[i] for i in adapted]))
            grad_norms = torch.stack(torch._foreach_norm([grads[i] for i in adapted]))
            both = (weight_norms > 0) & (grad_norms > 0)
            trust = torch.where(both, group["eta"] * weight_norms / grad_norms, 1.0)
            scaled = torch._foreach_mul([grads[i] for i in adapted], list(trust.unbind()))
            for i, grad in zip(adapted, scaled, strict=True):
                grads[i] = grad
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, grads)
        torch._foreach_add_(weights, buffers, alpha=-group["lr"])
