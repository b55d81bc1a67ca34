"""MSN: predictions of the target's codes, and a prior of prototypes; lightly's values are in `test_lightly.py`."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import DataError
from nearfar.losses import msn
from nearfar.losses.msn import power_law
from tests.losses.table import normal


def by_loops(anchors, targets, prototypes, iterations):
    u = F.normalize(prototypes)
    p = [(F.normalize(a, dim=0) @ u.T / 0.1).softmax(0) for a in anchors]
    q = torch.stack([((F.normalize(t, dim=0) @ u.T / 0.1).softmax(0) ** 4) for t in targets])
    q = q / q.sum(1, keepdim=True)
    for _ in range(iterations):
        q = q / q.sum(0)
        q = q / q.sum(1, keepdim=True)
    cross = sum(-float((q[i % len(targets)] * x.log()).sum()) for i, x in enumerate(p)) / len(p)
    mean = sum(p) / len(p)
    return cross + math.log(len(prototypes)) + float((mean * mean.log()).sum())


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_value_by_loops(iterations):
    anchors, targets, prototypes = normal(8, 5), normal(4, 5, seed=1), normal(6, 5, seed=2)
    found = msn(anchors, targets, prototypes, iterations=iterations)
    assert found.item() == pytest.approx(by_loops(anchors, targets, prototypes, iterations), rel=1e-12)


def test_sharp_even_predictions_that_agree_cost_nothing():
    z = 100 * torch.eye(4)
    assert msn(z, z, z, temperature=0.01).item() == pytest.approx(0, abs=1e-6)


def test_where_all_coincide_the_loss_is_log_of_the_prototypes():
    ones = torch.ones(3, 4)
    assert msn(ones, ones, torch.ones(5, 4)).item() == pytest.approx(math.log(5), abs=1e-6)


def test_a_prior_is_met_exactly_at_no_cost():
    z, prototypes = normal(6, 4), normal(3, 4, seed=1)
    options = {"regularization": 5.0, "iterations": 0}
    free = msn(z, z, prototypes, **(options | {"regularization": 0.0}))
    met = msn(z, z, prototypes, prior=lambda mean: mean.detach(), **options)
    torch.testing.assert_close(met, free)
    assert msn(z, z, prototypes, prior=lambda mean: power_law(3, 0.25), **options) > free


def test_a_power_law_falls_and_sums_to_1():
    found = power_law(4, 0.25)
    torch.testing.assert_close(found / found[0], torch.tensor([k**-0.25 for k in (1, 2, 3, 4)], dtype=torch.float64))
    assert found.sum().item() == pytest.approx(1)


def test_targets_get_no_gradient_and_others_take_part_in_the_codes():
    anchors, targets, prototypes = (normal(n, 4, seed=n).requires_grad_() for n in (6, 3, 5))
    loss = msn(anchors, targets, prototypes)
    grads = torch.autograd.grad(loss, (anchors, targets, prototypes), allow_unused=True)
    assert [grad is None for grad in grads] == [False, True, False]
    both = torch.cat([targets, normal(4, 4, seed=9)])
    shares = [msn(both[at], both[at], prototypes, others=rest, regularization=0)
              for at, rest in ((slice(0, 3), both[3:]), (slice(3, 7), both[:3]))]  # fmt: skip
    whole = msn(both, both, prototypes, regularization=0)
    torch.testing.assert_close((3 * shares[0] + 4 * shares[1]) / 7, whole)


def test_views_that_are_not_whole_are_refused():
    with pytest.raises(DataError, match="views of all 3 targets, one after the other, got 4"):
        msn(torch.ones(4, 2), torch.ones(3, 2), torch.ones(5, 2))
