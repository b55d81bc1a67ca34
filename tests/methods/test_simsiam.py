"""SimSiam as a method: what predicts what, where the gradient stops, what that is for, and that it learns."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, normalize

from nearfar.contract import Latents, Losses
from nearfar.diagnostics import effective_rank
from nearfar.methods.simsiam import SimSiam, SimSiamOptions
from nearfar.training import optimisers, schedule
from nearfar.training.step import training_step
from tests.methods.toys import batch_of, normed, views_of


def cosines(p, z):
    """The cosines of two tensors' rows, summed."""
    return (p / p.norm(dim=1, keepdim=True) * z / z.norm(dim=1, keepdim=True)).sum()


@pytest.fixture
def method():
    torch.manual_seed(0)
    return SimSiam(normed(12, nn.ReLU()), SimSiamOptions(projector_hidden=16, projector_out=8, predictor_hidden=10))


def test_views_pass_through_the_networks_one_after_the_other(method):
    x = torch.randn(3, 5, 6)
    z = method.embed(views_of(x))
    projected = [method.projector(method.encoder.layer(view)) for view in x]
    assert torch.equal(z["z"], torch.stack(projected))
    assert torch.equal(z["p"], torch.stack([method.predictor(view) for view in projected]))


def test_health_sees_the_predictions(method):
    assert next(iter(method.embed(views_of(torch.randn(2, 5, 6))))) == "p"


def test_the_projector_has_three_layers_and_ends_in_a_norm(method):
    layers = list(method.projector)
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [16, 16, 8]
    assert isinstance(layers[-1], nn.BatchNorm1d)
    assert [layer.out_features for layer in method.predictor if isinstance(layer, nn.Linear)] == [10, 8]


def test_the_loss_is_minus_the_mean_cosine_of_both_directions(method):
    p, z = torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    found = method.loss(Latents(p=p, z=z), batch_of(7)).total
    torch.testing.assert_close(found, -(cosines(p[0], z[1]) + cosines(p[1], z[0])) / 14)


def test_the_gradient_stops_at_what_is_predicted(method):
    x = torch.randn(2, 9, 6)
    other = copy.deepcopy(method)
    training_step(method, views_of(x), batch_of(9))
    z = [other.projector(other.encoder.layer(view)) for view in x]
    p = [other.predictor(view) for view in z]
    (-(cosines(p[0], z[1].detach()) + cosines(p[1], z[0].detach())) / 18).backward()
    for (name, found), wanted in zip(method.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-6, msg=name)


class Flowing(SimSiam):
    """Without the stop-gradient."""

    def embed(self, views):
        features = torch.stack([self.encoder.layer(view) for view in views])
        z = torch.stack([self.projector(view) for view in features])
        return Latents(p=torch.stack([self.predictor(view) for view in z]), z=z, features=features)

    def loss(self, z, batch):
        return Losses(-cosine_similarity(z["p"], z["z"].flip(0), dim=-1).mean())


def directions_left(kind):
    """The effective rank of 16-dimensional projections after a hundred steps on noisy vectors."""
    torch.manual_seed(0)
    method = kind(normed(12, nn.ReLU()), SimSiamOptions(projector_hidden=32, projector_out=16, predictor_hidden=8))
    optimizer = torch.optim.SGD(method.parameters(), lr=0.2, momentum=0.9)
    for _ in range(100):
        x = torch.randn(64, 6)
        optimizer.zero_grad()
        _, z = training_step(method, views_of(x + 0.5 * torch.randn(2, 64, 6)), batch_of(64))
        optimizer.step()
    return effective_rank(normalize(z["z"][0], dim=-1))


def test_without_the_stop_gradient_projections_fall_into_few_directions():
    assert directions_left(Flowing) < 0.7 * directions_left(SimSiam)


def test_the_predictors_rate_alone_stays_at_the_peak(method):
    optimizer = optimisers.build(method, name="sgd", lr=0.5, weight_decay=0.0)
    schedule.set_lr(optimizer, 0.1, 0.9)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in method.named_parameters()}
    assert {rate for name, rate in found.items() if name.startswith("predictor.")} == {0.5}
    assert {rate for name, rate in found.items() if not name.startswith("predictor.")} == {0.1}
