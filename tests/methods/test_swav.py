"""SwAV as a method: its latents, codes and queue, its settings, and that it learns."""

import torch
from torch.nn import functional as F

from nearfar.contract import Latents, Requirements
from nearfar.losses import swav
from nearfar.methods.swav import SwAV, SwAVOptions
from nearfar.training import optimisers, schedule
from tests.methods.toys import Toy, batch_of, views_of


def method_of(**options):
    torch.manual_seed(0)
    given = {"prototypes": 5, "projector_hidden": 16, "projector_out": 8, "temperature": 0.2, "sinkhorn_epsilon": 0.1}
    return SwAV(Toy(), SwAVOptions(**{**given, **options}))


def codes_by_hand(scores, epsilon, iterations=3):
    """Columns and rows of exp(scores / epsilon) divided by their sums in turn."""
    q = (scores / epsilon).exp()
    for _ in range(iterations):
        q = q / q.sum(0)
        q = q / q.sum(1, keepdim=True)
    return q


def scores_by_hand(method, z):
    return F.normalize(z, dim=-1) @ F.normalize(method.prototypes.weight, dim=-1).T


def test_latents_are_bottlenecks_of_all_views_and_not_scores():
    method = method_of(small_views=2).eval()
    wide, small = torch.randn(2, 7, 6), torch.randn(2, 7, 3)
    z = method.embed(views_of(*wide, *small))
    assert method.requires == Requirements(wide=2, small=2)
    assert z["z"].shape == (4, 7, 8)
    torch.testing.assert_close(z["z"][3], method.projector(method.encoder(small[1])))


def test_each_view_predicts_the_balanced_codes_of_the_other():
    method, z = method_of(), torch.randn(2, 9, 8)
    one, two = scores_by_hand(method, z)
    terms = [
        -(codes_by_hand(code, 0.1) * F.log_softmax(score / 0.2, 1)).sum(1).mean()
        for code, score in ((one, two), (two, one))
    ]
    found = method.loss(Latents(z=z), batch_of(range(9))).total
    torch.testing.assert_close(found, sum(terms) / 2)


def test_small_views_predict_and_give_no_codes():
    method, z = method_of(small_views=1), torch.randn(3, 9, 8)
    scores = scores_by_hand(method, z)
    codes = [codes_by_hand(scores[k], 0.1) for k in range(2)]
    terms = [
        -(codes[k] * F.log_softmax(scores[v] / 0.2, 1)).sum(1).mean() for k in range(2) for v in range(3) if v != k
    ]
    torch.testing.assert_close(method.loss(Latents(z=z), batch_of(range(9))).total, sum(terms) / 4)


def test_gradients_reach_the_latents_and_the_prototypes():
    method, z = method_of(small_views=1), torch.randn(3, 9, 8, requires_grad=True)
    method.loss(Latents(z=z), batch_of(range(9))).total.backward()
    assert (z.grad.norm(dim=-1) > 0).all()
    assert (method.prototypes.weight.grad.norm(dim=-1) > 0).all()


def test_the_length_of_latents_and_prototypes_does_not_matter():
    method, z = method_of(), torch.randn(2, 9, 8)
    before = method.loss(Latents(z=z), batch_of(range(9))).total
    with torch.no_grad():
        method.prototypes.weight *= 3
    torch.testing.assert_close(method.loss(Latents(z=7 * z), batch_of(range(9))).total, before)


def test_prototypes_stay_as_they_are_at_first():
    method = method_of()
    optimizer = optimisers.build(method, name="sgd", lr=1.0, weight_decay=0.1)
    moved = []
    for progress in (0.0, 0.5):
        before = method.prototypes.weight.detach().clone()
        schedule.set_lr(optimizer, 1.0, progress)
        optimizer.zero_grad()
        method.loss(Latents(z=torch.randn(2, 9, 8)), batch_of(range(9))).total.backward()
        optimizer.step()
        moved.append(not torch.equal(before, method.prototypes.weight))
    assert moved == [False, True]


# The queue.


def test_there_is_no_queue_when_none_is_asked_for():
    method = method_of(queue=0)
    method.after_step(Latents(z=torch.randn(2, 4, 8)), batch_of(range(4)))
    assert len(method.queues) == 0


def test_a_queue_for_each_wide_view_holds_the_last_latents_and_ids_in_order():
    method = method_of(queue=6, small_views=1)
    steps = torch.randn(3, 3, 4, 8)  # steps, views, samples
    for k, z in enumerate(steps):
        method.after_step(Latents(z=z), batch_of(range(4 * k, 4 * k + 4)))
    assert len(method.queues) == 2
    for view, queue in enumerate(method.queues):
        latents, ids = queue.last()
        assert ids.tolist() == [6, 7, 8, 9, 10, 11]
        assert torch.equal(latents, torch.cat([steps[1, view, 2:], steps[2, view]]))


def test_the_loss_sees_earlier_samples_and_never_the_current_ones_in_the_queue():
    method = method_of(queue=32)
    first, second = torch.randn(2, 2, 9, 8)
    method.after_step(Latents(z=first), batch_of(range(9)))
    earlier, now = scores_by_hand(method, first), scores_by_hand(method, second)
    found = method.loss(Latents(z=second), batch_of(range(9, 18), progress=0.5)).total
    codes = [codes_by_hand(torch.cat([now[k], earlier[k]]), 0.1)[:9] for k in range(2)]
    terms = [-(codes[k] * F.log_softmax(now[1 - k] / 0.2, 1)).sum(1).mean() for k in range(2)]
    torch.testing.assert_close(found, sum(terms) / 2)
    assert method.queues[0].last()[1].tolist() == list(range(9))  # the loss put nothing in


def test_scores_of_the_queue_are_those_of_the_prototypes_of_now():
    method, z = method_of(queue=16), torch.randn(2, 9, 8)
    method.after_step(Latents(z=torch.randn(2, 9, 8)), batch_of(range(9)))
    with torch.no_grad():
        method.prototypes.weight.copy_(torch.randn(5, 8))
    queued = [scores_by_hand(method, queue.last()[0]) for queue in method.queues]
    expected = swav(scores_by_hand(method, z).unbind(), queue=queued, temperature=0.2, epsilon=0.1)
    torch.testing.assert_close(method.loss(Latents(z=z), batch_of(range(9), progress=0.5)).total, expected)


def test_the_queue_takes_no_part_at_first():
    method, z = method_of(queue=16), torch.randn(2, 9, 8)
    without = method.loss(Latents(z=z), batch_of(range(9))).total
    method.after_step(Latents(z=torch.randn(2, 9, 8)), batch_of(range(9)))
    assert torch.equal(method.loss(Latents(z=z), batch_of(range(9), progress=0.01)).total, without)
    assert not torch.allclose(method.loss(Latents(z=z), batch_of(range(9), progress=0.5)).total, without)


# Settings.
