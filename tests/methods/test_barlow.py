"""Barlow Twins as a method: its latents, its loss, odd batches, its settings, and that it learns."""

import pytest
import torch
from torch import nn

from nearfar.contract import Latents
from nearfar.methods.barlow import Barlow, BarlowOptions
from tests.methods.toys import batch_of, normed, views_of


@pytest.fixture
def method():
    torch.manual_seed(0)
    return Barlow(normed(), BarlowOptions(projector_hidden=16, projector_out=8))


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
    method = Barlow(normed(), BarlowOptions(redundancy=redundancy))
    z = torch.randn(2, 9, 4, dtype=torch.float64)
    found = method.loss(Latents(z=z), batch_of(9)).total
    torch.testing.assert_close(found, by_corrcoef(z, redundancy), rtol=1e-4, atol=0)  # but for the norm's eps


def test_the_loss_does_not_grow_with_the_width(method):
    z = torch.randn(2, 9, 4)
    wider = z.repeat_interleave(3, dim=2)
    only_the_diagonal = Barlow(normed(), BarlowOptions(redundancy=0.0))
    losses = [only_the_diagonal.loss(Latents(z=each), batch_of(9)).total for each in (z, wider)]
    torch.testing.assert_close(losses[0], losses[1])


def test_equal_samples_cost_what_no_correlation_costs(method):
    x = torch.randn(2, 1, 6).expand(2, 8, 6)
    loss = method.loss(method.embed(views_of(x)), batch_of(8)).total
    torch.testing.assert_close(loss, torch.tensor(2.0), rtol=1e-3, atol=0)
