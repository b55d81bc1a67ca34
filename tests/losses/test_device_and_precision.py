"""Losses stay on the device of their inputs, never wait for a value, and compute in float32 under autocast."""

import contextlib

import pytest
import torch

from nearfar import losses
from nearfar.losses.core.reduction import reduce

CALLS = {
    "alignment": lambda z: losses.alignment(z[0], z[1], alpha=1.5),
    "barlow_twins": lambda z: losses.barlow_twins(z[0], z[1]),
    "bpr": lambda z: losses.bpr(*z[:3]) + losses.bpr(*z[:2], z[2].unsqueeze(1)),
    "byol": lambda z: losses.byol(z[:2], z[2:]),
    "cosent": lambda z: losses.cosent(z[0], z[1], scores=z[2][:, 0]),
    "dino": lambda z: losses.dino(z[:2], z[2:], center=torch.zeros(4, device=z[0].device)),
    "dino module": lambda z: losses.DINOLoss(4).to(z[0].device)(z[:2], z, epoch=3),
    "koleo": lambda z: losses.koleo(z[0]),
    "mean_active": lambda z: reduce(z[0].relu(), "mean_active", 6),
    "negative_cosine": lambda z: losses.negative_cosine(z[0], z[1]),
    "negative_cosine module": lambda z: losses.NegativeCosineSimilarity()(z[0], z[1]),
    "simsiam": lambda z: losses.simsiam(torch.stack(z[:2]), torch.stack(z[2:])),
    "swav": lambda z: losses.swav(z[:2], z[2:], queue=z[2:]),
    "vicreg": lambda z: losses.vicreg(z[0], z[1]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CALLS)
def test_nothing_leaves_the_device_or_waits_for_it(name, dtype, monkeypatch):
    # The meta device has no values to wait for, and refuses to work with tensors of another.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # not made for meta
    inputs = [torch.empty(6, 4, device="meta", dtype=dtype, requires_grad=True) for _ in range(4)]
    loss = CALLS[name](inputs)
    assert loss.device.type == "meta"
    loss.backward()
    assert {z.grad.device.type for z in inputs if z.grad is not None} == {"meta"}


@pytest.mark.parametrize("name", CALLS)
def test_autocast_changes_nothing(name):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(6, 4, generator=generator, requires_grad=True) for _ in range(4)]

    def loss_and_gradients():
        loss = CALLS[name](inputs)
        return loss, torch.autograd.grad(loss, inputs, allow_unused=True)

    plain, plain_gradients = loss_and_gradients()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradients = loss_and_gradients()
    assert loss.dtype == torch.float32
    assert loss.equal(plain)
    assert all(x is y or x.equal(y) for x, y in zip(gradients, plain_gradients, strict=True))
