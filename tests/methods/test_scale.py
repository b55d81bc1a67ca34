"""Automatic options of every method make sense from twenty samples to a million, and tiny batches train."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nearfar.errors import ConfigError
from nearfar.methods import registry
from nearfar.methods.heads import mlp
from nearfar.methods.sizes import decorrelated_width, queue_size
from nearfar.training.step import training_step
from tests.methods.toys import OF_SAMPLES, Toy, batch_of, facts_of, normed, views_of

every_method = pytest.mark.parametrize("name", OF_SAMPLES)


def settled(name, samples, encoder=None, **given):
    kind = registry.load(name)
    return kind.settle(kind.Options(**given), facts_of(samples), encoder or Toy())


@every_method
def test_automatic_options_fit_the_number_of_samples(name):
    for samples in (20, 1_000, 10_000, 100_000, 1_000_000):
        options, choices = settled(name, samples)
        assert options.settled
        assert all(getattr(options, choice.name) == choice.value and choice.why for choice in choices)
        assert 0 <= getattr(options, "queue", 0) <= samples
        assert 0 <= getattr(options, "momentum", 0) < 1


@pytest.mark.parametrize(
    ("name", "given", "by_samples"),
    [
        ("byol", {}, {s: {"projector_hidden": w, "predictor_hidden": w} for s, w in
                      ((1_000, 512), (10_000, 1024), (100_000, 2048), (10**6, 4096), (10**8, 4096))}),
        ("simsiam", {}, {s: {"projector_hidden": w, "projector_out": w, "predictor_hidden": w // 4} for s, w in
                         ((1_000, 512), (10_000, 1024), (100_000, 2048), (10**6, 2048))}),
        ("swav", {}, {s: {"prototypes": p, "sinkhorn_epsilon": e} for s, p, e in
                      ((10, 32, 0.0125), (1_000, 64, 0.0125), (50_000, 512, 0.025), (10**6, 2048, 0.05))}),
        ("dino", {}, {s: {"prototypes": p, "teacher_temperature_start": a, "teacher_temperature": b} for s, p, a, b in
                      ((10, 128, 0.01, 0.01), (50_000, 2048, 0.02, 0.02), (10**6, 8192, 0.04, 0.07))}),
        ("dino", {"teacher_temperature": 0.005}, {5_000: {"teacher_temperature_start": 0.005}}),
        ("moco", {}, {s: {"queue": q, "momentum": m, "predictor_hidden": 0} for s, q, m in
                      ((1_000, 500, 0.99), (10_000, 5_000, 0.99), (10**6, 65_536, 0.997))}),
        ("moco", {"queue": 0}, {5_000: {"predictor_hidden": 512}}),
        ("nnclr", {}, {3_000: {"queue": 1_500},
                       10**6: {"queue": 98_304, "projector_hidden": 512, "predictor_hidden": 1024}}),
        ("barlow", {}, {50_000: {"projector_hidden": 512, "projector_out": 512}}),
        ("vicreg", {}, {50_000: {"projector_hidden": 512, "projector_out": 512}}),
        ("simclr", {}, {5_000: {"temperature": 0.2, "projector_hidden": 512, "tau_plus": 0.0, "beta": 0.0}}),
        ("simclr", {"variant": "debiased"}, {5_000: {"tau_plus": 0.1, "beta": 0.0}}),
        ("simclr", {"variant": "hard"}, {5_000: {"tau_plus": 0.1, "beta": 1.0}}),
    ],
)  # fmt: skip
def test_what_is_chosen_follows_the_size_of_the_data(name, given, by_samples):
    for samples, expected in by_samples.items():
        options, choices = settled(name, samples, **given)
        assert {option: getattr(options, option) for option in expected} == expected
        # What a variant has no use for is 0, and not worth a word.
        said = {option for option, value in expected.items() if value or option == "predictor_hidden"}
        assert said <= {choice.name for choice in choices}


@pytest.mark.parametrize(
    ("samples", "dim", "width"),
    [
        (1_000, 2048, 512),
        (10_000, 512, 1024),
        (50_000, 512, 2048),  # solo-learn's for CIFAR
        (50_000, 128, 512),
        (1_281_167, 2048, 8192),  # both papers' for ImageNet
        (10**9, 4096, 8192),
    ],
)
def test_decorrelated_dimensions_are_as_many_as_suit_the_encoder_and_the_data(samples, dim, width):
    assert decorrelated_width(Toy(dim), facts_of(samples))[0] == width


@pytest.mark.parametrize(("samples", "size"), [(1, 1), (2, 1), (10_001, 5_000), (1_281_167, 65_536)])
def test_a_queue_holds_half_of_the_data_up_to_the_papers_size(samples, size):
    assert queue_size(samples, 65_536)[0] == size


@pytest.mark.parametrize("name", ["moco", "nnclr"])
def test_a_queue_longer_than_the_data_is_refused(name):
    assert settled(name, 12, queue=12)[0].queue == 12
    with pytest.raises(ConfigError, match=r"queue must be at most 12, the number of samples.*got 13"):
        settled(name, 12, queue=13)


def test_a_head_that_fits_into_no_memory_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("nearfar.memory.available_memory", lambda: 2**30)
    mlp(2**10, 2**14 + 1, 8)  # 0.2 GB
    with pytest.raises(ConfigError, match="4,295 million weights need 52 GB of memory to be trained"):
        mlp(65_536, 65_536, 8)


@every_method
@pytest.mark.parametrize("samples", [2, 20])
def test_tiny_and_constant_batches_train_to_finite_weights(name, samples):
    """At the usual rate: varied samples, equal samples, equal views, one constant, and one dimension alone."""
    for kind in ("varied", "equal samples", "equal views", "all equal", "one dimension"):
        torch.manual_seed(0)
        encoder = normed(12, nn.ReLU())
        method = registry.load(name)(encoder, settled(name, 20, encoder)[0]).train()
        before = [p.detach().clone() for p in encoder.parameters()]
        count = method.requires.wide + method.requires.small
        more = {"labels": torch.arange(samples) % 4, "scores": torch.rand(samples), "targets": torch.randn(samples, 12)}
        batch = replace(batch_of(samples), **more)
        optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
        for _ in range(3):  # the first fills MoCo's queue and teaches nothing
            x = torch.randn(count, samples, 6)
            if kind == "equal samples":
                x = x[:, :1].expand_as(x)
            elif kind == "equal views":
                x = x[:1].expand_as(x)
            elif kind == "all equal":
                x = torch.full_like(x, 0.3)
            elif kind == "one dimension":
                x = torch.cat([x[..., :1], torch.zeros_like(x[..., 1:])], dim=-1)
            optimizer.zero_grad()
            losses, latents = training_step(method, views_of(x), batch)
            assert bool(losses.total.isfinite()), kind
            assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in method.parameters()), kind
            optimizer.step()
            method.after_step(latents, batch)
        assert all(bool(value.isfinite().all()) for value in method.state_dict().values()), kind
        if kind == "varied":
            assert any(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
