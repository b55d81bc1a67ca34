"""BYOL as a method: what predicts what, how the target follows, and that it learns."""

import copy

import pytest
import torch
from torch import nn

from nearfar.contract import Latents
from nearfar.methods.byol import BYOL, BYOLOptions
from nearfar.training.step import training_step
from tests.methods.toys import batch_of, normed, views_of


def distance(p, y):
    """The squared distance of two vectors at length 1, summed over the rows."""
    return ((p / p.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)) ** 2).sum()


@pytest.fixture
def method():
    torch.manual_seed(0)
    return BYOL(
        normed(12, nn.ReLU()), BYOLOptions(projector_hidden=16, projector_out=8, predictor_hidden=10, momentum=0.9)
    )


def moved(method):
    """The method with a target that is no longer the copy it began as."""
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return method


def test_predictions_pass_through_all_three_networks_one_view_after_the_other(method):
    x = torch.randn(3, 5, 6)
    z = method.embed(views_of(x))
    by_hand = [method.predictor(method.projector(method.encoder.layer(view))) for view in x]
    assert torch.equal(z["p"], torch.stack(by_hand))
    assert torch.equal(z.features, torch.stack([method.encoder.layer(view) for view in x]).detach())


def test_targets_have_weights_and_batch_statistics_of_their_own(method):
    x = torch.randn(2, 5, 6)
    copied = copy.deepcopy((method.encoder, method.projector))
    y = moved(method).targets(views_of(x))["y"]
    assert torch.equal(y, torch.stack([copied[1](copied[0].layer(view)) for view in x]))
    untouched = method.encoder.layer[1].running_mean
    assert torch.equal(untouched, torch.zeros(12))
    assert not torch.equal(method.target_encoder.layer[1].running_mean, untouched)


def test_the_target_begins_as_a_copy_and_is_not_trained(method):
    for target, network in ((method.target_encoder, method.encoder), (method.target_projector, method.projector)):
        for ours, theirs in zip(target.parameters(), network.parameters(), strict=True):
            assert torch.equal(ours, theirs)
            assert ours.data_ptr() != theirs.data_ptr()
            assert not ours.requires_grad


def test_the_loss_is_the_squared_distance_summed_over_both_directions(method):
    p, y = torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    found = method.loss(Latents(p=p, y=y), batch_of(7)).total
    torch.testing.assert_close(found, (distance(p[0], y[1]) + distance(p[1], y[0])) / 7)


def test_the_target_is_a_constant_for_the_gradient(method):
    moved(method)
    x = torch.randn(2, 9, 6)
    other = copy.deepcopy(method)
    training_step(method, views_of(x), batch_of(9))
    p = [other.predictor(other.projector(other.encoder.layer(view))) for view in x]
    y = [other.target_projector(other.target_encoder.layer(view)).detach() for view in x]
    ((distance(p[0], y[1]) + distance(p[1], y[0])) / 9).backward()
    for (name, found), wanted in zip(method.named_parameters(), other.parameters(), strict=True):
        assert (found.grad is None) == name.startswith("target_"), name
        if wanted.grad is not None:
            torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-6)


def test_the_target_follows_what_the_step_has_made_ever_more_slowly(method):
    """m = 1 - (1 - 0.9) (cos(pi progress) + 1) / 2 at progress 0, 1/3 and 1: 0.9, 0.925 and 1."""
    target = [
        parameter.clone() for parameter in (*method.target_encoder.parameters(), *method.target_projector.parameters())
    ]
    for progress, m in ((0.0, 0.9), (1 / 3, 0.925), (1.0, 1.0)):
        moved(method)
        method.after_step(Latents(), batch_of(4, progress=progress))
        online = [*method.encoder.parameters(), *method.projector.parameters()]
        target = [m * ours + (1 - m) * theirs for ours, theirs in zip(target, online, strict=True)]
        found = [*method.target_encoder.parameters(), *method.target_projector.parameters()]
        for ours, wanted in zip(found, target, strict=True):
            torch.testing.assert_close(ours, wanted)
