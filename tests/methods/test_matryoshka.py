"""Matryoshka around any method: the sum of losses of vectors cut short."""

import copy

import pytest
import torch

from nearfar.contract import Batch
from nearfar.errors import ConfigError
from nearfar.methods import registry
from nearfar.methods.byol import BYOL
from nearfar.methods.classify import Classify
from nearfar.methods.infonce import InfoNCE
from nearfar.methods.matryoshka import Matryoshka, widths_of
from nearfar.methods.vicreg import VICReg
from nearfar.training.step import training_step
from tests.methods.toys import OF_VECTORS, Toy, batch_of, facts_of, normal, views_of

X = normal(2, 6, 6)


def made(kind, **options):
    torch.manual_seed(0)
    return kind(Toy(), kind.settle(kind.Options(**options), facts_of(40), Toy())[0])


def cut(method, width):
    """A copy whose encoder gives zeros beyond the width."""
    narrow = copy.deepcopy(method)
    for module in narrow.modules():
        if isinstance(module, Toy):
            with torch.no_grad():
                module.layer.weight[width:] = 0
                module.layer.bias[width:] = 0
    return narrow


def gradient(method, views, **how):
    method.zero_grad()
    found, latents = training_step(method, views, batch_of(6), **how)
    return found.total, {name: p.grad for name, p in method.named_parameters() if p.grad is not None}, latents


@pytest.mark.parametrize("kind", [InfoNCE, BYOL])
def test_the_loss_is_the_sum_over_the_widths_and_so_is_the_gradient_of_the_heads(kind):
    method = made(kind)
    total, gradients, _ = gradient(Matryoshka(method, [3, 5]), views_of(X))
    parts = [gradient(one, views_of(X)) for one in (cut(method, 3), cut(method, 5), copy.deepcopy(method))]
    torch.testing.assert_close(total, sum(part[0] for part in parts))
    heads = [name for name in parts[0][1] if not name.startswith("encoder.")]
    for name in heads:
        torch.testing.assert_close(gradients[f"method.{name}"], sum(part[1][name] for part in parts))


def test_vectors_compared_as_they_are_are_cut_and_the_encoder_runs_once():
    method = made(InfoNCE, projector_out=0, temperature=0.3)
    wrapped = Matryoshka(method, [4])
    total, _, latents = gradient(wrapped, views_of(X))
    assert len(method.encoder.seen) == 1
    z = method.encoder(X)
    expected = [method.loss(type(latents)(z=some), batch_of(6)).total for some in (z, z[..., :4])]
    torch.testing.assert_close(total, sum(expected))


@pytest.mark.parametrize("name", OF_VECTORS)
def test_every_method_takes_it_and_micro_batches_change_nothing(name):
    method = Matryoshka(made(registry.load(name)).double().eval(), [3, 6])
    scores = torch.arange(6.0) if method.requires.scores else None
    targets = normal(6, 12).double() if method.requires.targets else None
    x = normal(2 + method.requires.small, 6, 6).double()
    found = []
    for size in (None, 2):
        method.zero_grad()
        batch = Batch(ids=torch.arange(6), labels=torch.arange(6) % 2, scores=scores, targets=targets)
        training_step(method, views_of(x), batch, micro_batch=size, seed=torch.manual_seed)
        found.append({key: p.grad.clone() for key, p in method.named_parameters() if p.grad is not None})
    plain, cached = found
    assert plain.keys() == cached.keys()
    assert any(key.startswith("method.encoder.") for key in plain)
    for key, value in plain.items():
        torch.testing.assert_close(cached[key], value)


def test_widths_are_read_and_checked():
    assert widths_of("128, 64,64", 256) == [64, 128]
    for text in ("64,x", "0,64", "256", ""):
        with pytest.raises(ConfigError, match="matryoshka must be dimensions"):
            widths_of(text, 256)


def test_the_whole_vectors_latents_come_first_and_keep_their_names():
    latents = gradient(Matryoshka(made(InfoNCE, projector_out=0), [4]), views_of(X))[2]
    assert list(latents) == ["z", "z@4"]
    assert (latents["z@4"][..., 4:] == 0).all()
    assert latents.features.shape == (2, 6, 12)


def test_it_trains_as_its_method_does():
    for kind in (VICReg, Classify):
        method = made(kind)
        whole = Matryoshka(method, [2])
        for name in ("rate", "smallest_batch", "largest_batch", "downstream", "gentle"):
            assert getattr(whole, name) == getattr(method, name), name
