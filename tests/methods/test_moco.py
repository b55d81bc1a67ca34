"""MoCo as a method: its keys, its queue, its momentum encoder, with a queue (v2) and without (v3)."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nearfar.contract import Latents
from nearfar.methods.moco import MoCo, MoCoOptions
from nearfar.training.step import training_step
from tests.methods.toys import batch_of, normal, normed, views_of


def built(**options):
    torch.manual_seed(0)
    given = {"temperature": 0.5, "queue": 7, "momentum": 0.9, "norm_group": 0, "projector_hidden": 16}
    return MoCo(normed(), MoCoOptions(**{**given, "projector_out": 8, **options}))


def apart(method):
    """The method with a network that differs from its slow copy."""
    with torch.no_grad():
        for parameter in (*method.encoder.parameters(), *method.projector.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


def test_queries_pass_the_network_and_keys_its_slow_copy():
    method, x = apart(built()).eval(), normal(2, 5, 6)
    queries, keys = method.embed(views_of(x)), method.targets(views_of(x))
    torch.testing.assert_close(queries["q"][1], method.projector(method.encoder.layer(x[1])))
    torch.testing.assert_close(queries.features[0], method.encoder.layer(x[0]))
    torch.testing.assert_close(keys["k"][1], method.momentum_projector(method.momentum_encoder.layer(x[1])))
    assert not torch.allclose(queries["q"], keys["k"])


def test_without_a_queue_queries_are_predictions():
    method, x = built(queue=0).eval(), normal(2, 5, 6)
    expected = method.predictor(method.projector(method.encoder.layer(x[0])))
    torch.testing.assert_close(method.embed(views_of(x))["q"][0], expected)
    assert isinstance(built().predictor, nn.Identity)


def test_the_loss_is_the_cross_entropy_of_the_key_among_the_queue_in_both_directions():
    method, q, k = built(), normal(2, 3, 8), normal(2, 3, 8, seed=1)
    method.queue.enqueue(normal(5, 8, seed=2), torch.arange(10, 15))
    earlier = F.normalize(normal(5, 8, seed=2), dim=-1)
    total = 0.0
    for i in (0, 1):
        query, key = F.normalize(q[i], dim=-1), F.normalize(k[1 - i], dim=-1)
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ earlier.T], dim=1) / 0.5
        total += F.cross_entropy(logits, torch.zeros(3, dtype=torch.long)) / 2
    torch.testing.assert_close(method.loss(Latents(q=q, k=k), batch_of([0, 1, 2])).total, total)


def test_without_a_queue_the_other_keys_of_the_batch_are_the_negatives():
    method, q, k = built(queue=0), normal(2, 4, 8), normal(2, 4, 8, seed=1)
    total = 0.0
    for i in (0, 1):
        logits = F.normalize(q[i], dim=-1) @ F.normalize(k[1 - i], dim=-1).T / 0.5
        total += F.cross_entropy(logits, torch.arange(4)) / 2
    torch.testing.assert_close(method.loss(Latents(q=q, k=k), batch_of([0, 1, 2, 3])).total, total)
    twins = method.loss(Latents(q=q, k=k), batch_of([0, 1, 2, 2])).total
    assert twins < total


def test_earlier_keys_of_the_same_sample_are_no_negatives():
    method, z = built(), Latents(q=normal(2, 1, 8), k=normal(2, 1, 8, seed=1))
    method.queue.enqueue(normal(3, 8, seed=2), torch.tensor([4, 5, 6]))
    expected = method.loss(z, batch_of([0])).total
    method.queue.enqueue(z["q"].flatten(0, 1), torch.tensor([0, 0]))  # the nearest that there can be
    torch.testing.assert_close(method.loss(z, batch_of([0])).total, expected)
    assert method.loss(z, batch_of([8])).total > expected + 0.1


def test_the_queue_holds_the_last_keys_of_both_views_in_order_and_none_of_the_batch_at_hand():
    method = built(queue=10)
    steps = [normal(2, 3, 8, seed=s) for s in (1, 2, 3)]
    for s, k in enumerate(steps):
        q, batch = normal(2, 3, 8, seed=9).requires_grad_(), batch_of([3 * s, 3 * s + 1, 3 * s + 2])
        method.loss(Latents(q=q, k=k), batch)
        held = method.queue.last()[1]
        assert not torch.isin(held, batch.ids).any()
        method.after_step(Latents(q=q.detach(), k=k), batch)
    keys, ids = method.queue.last()
    torch.testing.assert_close(keys, torch.cat([k.flatten(0, 1) for k in steps])[-10:])
    assert ids.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 6, 7, 8][-10:]


def test_the_slow_copy_moves_after_the_step_by_a_rising_momentum():
    method = built(momentum=0.6)
    followed = copy.deepcopy(method.momentum_projector[0].weight.detach())
    for progress, m in ((0.0, 0.6), (0.5, 0.8), (1.0, 1.0)):  # 1 - 0.4 (cos(pi p) + 1) / 2
        apart(method)
        before = copy.deepcopy(method.momentum_encoder.state_dict())
        method.loss(Latents(q=normal(2, 2, 8), k=normal(2, 2, 8)), batch_of([0, 1], progress=progress))
        assert all(value.equal(before[key]) for key, value in method.momentum_encoder.state_dict().items())
        method.after_step(Latents(k=normal(2, 2, 8)), batch_of([0, 1], progress=progress))
        followed = m * followed + (1 - m) * method.projector[0].weight.detach()
        torch.testing.assert_close(method.momentum_projector[0].weight, followed)
        expected = m * before["layer.0.weight"] + (1 - m) * method.encoder.layer[0].weight
        torch.testing.assert_close(method.momentum_encoder.layer[0].weight, expected)


@pytest.mark.parametrize("queue", [0, 7])
def test_no_gradient_reaches_the_slow_copy_and_no_optimiser_holds_it(queue):
    method = built(queue=queue)
    batch = batch_of([0, 1, 2, 3])
    for _ in range(2):  # the first finds an empty queue
        _, latents = training_step(method, views_of(normal(2, 4, 6)), batch)
        method.after_step(latents, batch_of([7, 8, 9, 10]))
    slow = [*method.momentum_encoder.parameters(), *method.momentum_projector.parameters()]
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in slow)
    assert method.encoder.layer[0].weight.grad.abs().max() > 0


def test_an_empty_queue_teaches_nothing():
    method = built()
    losses, _ = training_step(method, views_of(normal(2, 4, 6)), batch_of([0, 1, 2, 3]))
    assert losses.total.item() == 0
    assert method.encoder.layer[0].weight.grad.eq(0).all()


def test_statistics_are_of_groups_and_the_slow_copy_keeps_its_own():
    method, x = built(norm_group=4), normal(2, 12, 6)
    torch.manual_seed(3)
    method.targets(views_of(x))
    assert int(method.momentum_encoder.layer[1].num_batches_tracked) == 6  # two views in three groups
    assert int(method.encoder.layer[1].num_batches_tracked) == 0
    fresh = built(norm_group=4)
    queries = fresh.embed(views_of(x))["q"]
    encoder = copy.deepcopy(built().encoder)
    expected = torch.cat([encoder(part) for part in x[0].split(4)])
    torch.testing.assert_close(queries[0], fresh.projector(expected))


def test_heads_are_those_of_the_versions():
    """v2's has no batch norm, v3's ends with one that has no weights."""
    assert [type(layer).__name__ for layer in built().projector] == ["Linear", "ReLU", "Linear"]
    assert [type(layer).__name__ for layer in built(queue=0).projector] == [
        "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d",
    ]  # fmt: skip
