"""Barlow Twins as a method: its latents, its loss, odd batches, its settings, and that it learns."""

import pytest
import torch
from torch import nn

from nearfar.contract import Latents
from nearfar.methods.barlow import Barlow, BarlowOptions
from nearfar.options import UNKNOWN
from tests.methods.normed import Toy, batch_of, facts_of, views_of


@pytest.fixture
def method():
    torch.manual_seed(0)
    return Barlow(Toy(), BarlowOptions(projector_hidden=16, projector_out=8))


def test_each_view_has_batch_statistics_of_its_own(method):
    x = torch.randn(2, 9, 6) * torch.tensor([1.0, 5.0])[:, None, None]
    z = method.embed(views_of(x))
    for i in range(2):
        features = method.encoder.features(x[i])
        torch.testing.assert_close(z["z"][i], method.projector(features))
        torch.testing.assert_close(z.features[i], features)
    assert not z.features.requires_grad


def test_the_projector_has_two_hidden_layers_with_batch_norm_and_none_at_the_end(method):
    kinds = [type(layer) for layer in method.projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [layer.out_features for layer in method.projector if isinstance(layer, nn.Linear)] == [16, 16, 8]


def by_corrcoef(z, redundancy):
    """Twice eq. 1 over the dimensions, correlations as torch finds them between all columns of both views."""
    d = z.shape[2]
    c = torch.corrcoef(torch.cat([z[0], z[1]], dim=1).T)[:d, d:]
    on = (1 - c.diagonal()).square().sum()
    return 2 * (on + redundancy * (c.square().sum() - c.diagonal().square().sum())) / d


@pytest.mark.parametrize("redundancy", [5e-3, 0.3])
def test_the_loss_is_that_of_the_paper_a_dimension(redundancy):
    method = Barlow(Toy(), BarlowOptions(redundancy=redundancy))
    z = torch.randn(2, 9, 4, dtype=torch.float64)
    found = method.loss(Latents(z=z), batch_of(9)).total
    torch.testing.assert_close(found, by_corrcoef(z, redundancy), rtol=1e-4, atol=0)  # but for the norm's eps


def test_the_loss_does_not_grow_with_the_width(method):
    z = torch.randn(2, 9, 4)
    wider = z.repeat_interleave(3, dim=2)
    only_the_diagonal = Barlow(Toy(), BarlowOptions(redundancy=0.0))
    losses = [only_the_diagonal.loss(Latents(z=each), batch_of(9)).total for each in (z, wider)]
    torch.testing.assert_close(losses[0], losses[1])


def test_the_share_of_a_rank_is_the_whole_by_their_number(method):
    z = Latents(z=torch.randn(2, 9, 4))
    share = method.loss(z, batch_of(9, rows=slice(0, 2), world=4)).total
    torch.testing.assert_close(4 * share, method.loss(z, batch_of(9)).total)


@pytest.mark.parametrize("samples", [2, 8, 256])
@pytest.mark.parametrize("kind", ["varied", "equal samples", "equal views", "all equal", "one dimension alive"])
def test_tiny_and_constant_batches_train_to_finite_weights_at_the_usual_rate(method, samples, kind):
    optimizer = torch.optim.SGD(method.parameters(), lr=0.25 * samples / 256, momentum=0.9, nesterov=True)
    for step in range(20):
        torch.manual_seed(step)
        x = torch.randn(2, samples, 6)
        if kind == "equal samples":
            x = x[:, :1].expand_as(x)
        elif kind == "equal views":
            x = x[:1].expand_as(x)
        elif kind == "all equal":
            x = torch.full_like(x, 0.3)
        elif kind == "one dimension alive":
            x = torch.cat([x[..., :1], torch.zeros_like(x[..., 1:])], dim=-1)
        optimizer.zero_grad()
        loss = method.loss(method.embed(views_of(x)), batch_of(samples)).total
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for p in method.parameters())
        optimizer.step()
    assert all(value.isfinite().all() for value in method.state_dict().values())


def test_equal_samples_cost_what_no_correlation_costs(method):
    x = torch.randn(2, 1, 6).expand(2, 8, 6)
    loss = method.loss(method.embed(views_of(x)), batch_of(8)).total
    torch.testing.assert_close(loss, torch.tensor(2.0), rtol=1e-3, atol=0)


def test_what_is_not_given_is_chosen_and_said():
    options, choices = Barlow.settle(BarlowOptions(), facts_of(50_000), Toy(512))
    assert options == BarlowOptions(projector_hidden=2048, projector_out=2048)
    assert [(choice.name, choice.value) for choice in choices] == [("projector_hidden", 2048), ("projector_out", 2048)]


def test_what_is_given_stays():
    given = BarlowOptions(projector_hidden=33, projector_out=17)
    assert Barlow.settle(given, facts_of(10**6), Toy()) == (given, [])
    half = BarlowOptions(projector_out=17)
    options, choices = Barlow.settle(half, UNKNOWN, Toy())
    assert options == BarlowOptions(projector_hidden=512, projector_out=17)
    assert [choice.name for choice in choices] == ["projector_hidden"]
