"""NNCLR as a method: its latents, its queue, its loss, and that it learns."""

import pytest
import torch
from torch.nn import functional as F

from nearfar.contract import Latents
from nearfar.methods.nnclr import NNCLR, NNCLROptions
from nearfar.training.step import training_step
from tests.methods.toys import Toy, batch_of, normal, views_of


@pytest.fixture
def method():
    torch.manual_seed(0)
    return NNCLR(
        Toy(), NNCLROptions(temperature=0.5, queue=5, projector_hidden=16, projector_out=8, predictor_hidden=9)
    )


def test_latents_are_projections_without_gradient_and_their_predictions(method):
    x = normal(2, 5, 6)
    z = method.embed(views_of(x))
    for i in (0, 1):  # each view with batch statistics of its own
        projected = method.projector(method.encoder.layer(x[i]))
        torch.testing.assert_close(z["z"][i], projected)
        torch.testing.assert_close(z["p"][i], method.predictor(projected))
    assert next(iter(z)) == "z"
    assert not z["z"].requires_grad
    assert z["p"].requires_grad


def test_the_loss_is_that_of_the_nearest_in_the_queue(method):
    z, p, bank = normal(2, 3, 8), normal(2, 3, 8, seed=1), normal(4, 8, seed=2)
    method.queue.enqueue(bank, torch.tensor([10, 11, 12, 13]))
    u, total = F.normalize(bank, dim=-1), 0.0
    for i in (0, 1):
        nearest = u[(F.normalize(z[i], dim=-1) @ u.T).argmax(1)]
        total += F.cross_entropy(nearest @ F.normalize(p[1 - i], dim=-1).T / 0.5, torch.arange(3)) / 2
    torch.testing.assert_close(method.loss(Latents(z=z, p=p), batch_of([0, 1, 2])).total, total)


def test_an_earlier_projection_of_the_same_sample_is_no_neighbour(method):
    z, p, bank = normal(2, 2, 8), normal(2, 2, 8, seed=1), normal(2, 8, seed=2)
    z[:, 1] = bank[0]  # the second sample has found its neighbour
    method.queue.enqueue(bank, torch.tensor([10, 11]))
    expected = method.loss(Latents(z=z, p=p), batch_of([0, 1])).total
    method.queue.enqueue(z[0, :1], torch.tensor([0]))
    torch.testing.assert_close(method.loss(Latents(z=z, p=p), batch_of([0, 1])).total, expected)
    assert not torch.allclose(method.loss(Latents(z=z, p=p), batch_of([7, 1])).total, expected)


def test_the_queue_holds_the_last_projections_of_the_first_view_in_order(method):
    steps = [normal(2, 3, 8, seed=s) for s in (1, 2, 3)]
    for s, z in enumerate(steps):
        batch = batch_of([3 * s, 3 * s + 1, 3 * s + 2])
        method.loss(Latents(z=z, p=z), batch)
        assert not torch.isin(method.queue.last()[1], batch.ids).any()
        method.after_step(Latents(z=z, p=z), batch)
    held, ids = method.queue.last()
    torch.testing.assert_close(held, torch.cat([z[0] for z in steps])[-5:])
    assert ids.tolist() == [4, 5, 6, 7, 8]


def test_gradients_reach_encoder_and_both_heads_from_the_first_step(method):
    training_step(method, views_of(normal(2, 6, 6)), batch_of(6))
    assert all(parameter.grad.abs().max() > 0 for parameter in method.parameters())
