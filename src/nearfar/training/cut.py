"""The cut: every step is split at the embedding, for every method.

    views --embed--> latents | detached leaves --loss--> gradient at the leaves --> pushed into the graph of embed

The encoder runs under autocast, the loss in fp32 on leaves that belong to no graph. What the loss stage owns
(prototypes, a learned scale) gets its gradient from the same single backward call.
"""

from contextlib import nullcontext

import torch
from torch import Tensor

from nearfar.contract import Batch, Latents, Losses, Method, Views


def step(method: Method, views: Views, batch: Batch, *, autocast: torch.dtype | None = None) -> tuple[Losses, Latents]:
    """Leave the gradients of one step on the parameters; returns the loss and the latents (detached, fp32).

    `autocast` is the type of the encoder's arithmetic; None is that of its weights.
    """
    device = batch.ids.device.type
    with nullcontext() if autocast is None else torch.autocast(device, autocast):
        embedded = method.embed(views)
        with torch.no_grad():
            targets = method.targets(views)

    leaves: dict[str, Tensor] = {
        name: _wide(latent).requires_grad_(latent.requires_grad) for name, latent in embedded.items()
    }
    fixed = {name: _wide(latent) for name, latent in targets.items()}
    with torch.autocast(device, enabled=False):
        losses = method.loss(Latents(**leaves, **fixed), batch)
    losses.total.backward()  # type: ignore[no-untyped-call]

    pushed = [(latent, leaves[name].grad) for name, latent in embedded.items() if leaves[name].grad is not None]
    torch.autograd.backward(
        [latent for latent, _ in pushed], [grad.to(latent.dtype) for latent, grad in pushed if grad is not None]
    )
    latents = Latents(**{name: leaf.detach() for name, leaf in leaves.items()}, **fixed)
    features = embedded.features if embedded.features is not None else targets.features
    latents.features = None if features is None else features.float()
    return losses, latents


def _wide(latent: Tensor) -> Tensor:
    """A detached copy in fp32, or in fp64 where the latent is fp64 already."""
    return latent.detach().to(torch.promote_types(latent.dtype, torch.float32))
