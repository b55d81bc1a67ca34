"""Automatic options of every method make sense from twenty samples to a million."""

import math
from dataclasses import asdict, fields
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from nearfar.contract import Batch, Encoder, Views
from nearfar.methods import registry
from nearfar.options import Facts
from nearfar.training.step import training_step

FEW = 20
every_method = pytest.mark.parametrize("name", registry.METHODS)


class Toy(Encoder):
    def __init__(self):
        super().__init__()
        self.dim = 12
        self.layer = nn.Sequential(nn.Linear(6, 12), nn.ReLU())

    def features(self, inputs):
        return self.layer(inputs)


def facts(samples):
    return Facts(samples=samples, labelled=samples, device="cpu", threads=1, steps=1_000)


def settled(name, samples, encoder):
    kind = registry.load(name)
    options, _ = kind.settle(kind.Options(), facts(samples), encoder)
    return options


@every_method
@pytest.mark.parametrize("samples", [FEW, 1_000, 10_000, 100_000, 1_000_000])
def test_automatic_options_fit_the_number_of_samples(name, samples):
    options = settled(name, samples, Toy())
    hints = get_type_hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        kinds = [kind for kind in (get_args(hints[field.name]) or (hints[field.name],)) if kind is not type(None)]
        assert value is not None, field.name
        if kinds in ([int], [float], [bool], [str]):
            assert type(value) is kinds[0], field.name
        if isinstance(value, float):
            assert math.isfinite(value), field.name
    given = asdict(options)
    assert 0 <= given.get("queue", 0) <= samples
    assert 0 <= given.get("momentum", 0) < 1


@every_method
def test_steps_on_twenty_samples_move_the_encoder_and_leave_all_finite(name):
    torch.manual_seed(0)
    kind, encoder = registry.load(name), Toy()
    method = kind(encoder, settled(name, FEW, encoder)).train()
    before = [p.detach().clone() for p in encoder.parameters()]
    count = method.requires.wide + method.requires.small
    x = torch.randn(count, FEW, 6)
    views = Views(lambda number, start, stop: x[number, start:stop], range(count), 0, FEW, wide=method.requires.wide)
    batch = Batch(ids=torch.arange(FEW), labels=torch.arange(FEW) % 4)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):  # the first fills MoCo's queue and teaches nothing
        optimizer.zero_grad()
        losses, latents = training_step(method, views, batch)
        optimizer.step()
        method.after_step(latents, batch)
        assert bool(losses.total.isfinite())
    assert all(bool(value.isfinite().all()) for value in method.state_dict().values())
    assert any(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
