"""Hard and soft selection of negatives: loops, limits, gradients at fixed choices."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import (
    hardest_negative,
    hcl,
    info_nce,
    weighted_negatives,
)

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z1, z2, temperature, focus=None, ids=None, weigh_by=None):
    """Focus None takes the nearest negative alone; weigh_by: other views, from which the weights are taken."""
    u = [F.normalize(z) for z in (z1, z2)]
    x = [z.detach() for z in u] if weigh_by is None else [F.normalize(z) for z in weigh_by]
    b, total = len(z1), 0.0
    for view in (0, 1):
        for i in range(b):
            others = [(w, j) for j in range(b) for w in (0, 1) if (j != i if ids is None else ids[j] != ids[i])]
            positive = u[view][i] @ u[1 - view][i]
            costs = [torch.log1p(((u[view][i] @ u[w][j] - positive) / temperature).exp()) for w, j in others]
            near = [float(x[view][i] @ x[w][j]) for w, j in others]
            if focus is None:
                total = total + (costs[near.index(max(near))] if near else 0.0)
                continue
            weights = [math.exp(s / focus) for s in near]
            total = total + sum(w * c for w, c in zip(weights, costs, strict=True)) / (sum(weights) or 1.0)
    return total / (2 * b)


IDS = pytest.mark.parametrize("ids", [None, [0, 1, 0, 2, 3, 1], [4] * 6], ids=["plain", "ids", "all-equal"])


@IDS
def test_the_hardest_negative_by_loops(ids):
    z1, z2 = normal(6, 4).requires_grad_(), normal(6, 4, seed=1).requires_grad_()
    got = hardest_negative(z1, z2, temperature=0.3, ids=None if ids is None else torch.tensor(ids))
    expected = by_loops(z1, z2, 0.3, ids=ids) + 0 * z1.sum() + 0 * z2.sum()
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(x, (z1, z2)) for x in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-13)


@TILED
@IDS
def test_weighted_negatives_by_loops_with_weights_held(ids, implementation):
    z1, z2 = normal(6, 4).requires_grad_(), normal(6, 4, seed=1).requires_grad_()
    got = weighted_negatives(
        z1, z2, temperature=0.3, focus=0.2, ids=None if ids is None else torch.tensor(ids),
        implementation=implementation,
    )  # fmt: skip
    held = (z1.detach(), z2.detach())
    expected = by_loops(z1, z2, 0.3, 0.2, ids, weigh_by=held) + 0 * z1.sum() + 0 * z2.sum()
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(x, (z1, z2)) for x in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-13)


@TILED
def test_the_gradient_of_the_temperature_is_exact(implementation):
    z1, z2 = normal(5, 3), normal(5, 3, seed=1)
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: weighted_negatives(z1, z2, temperature=t, implementation=implementation), (temperature,)
    )


@TILED
def test_a_sharp_focus_is_the_hardest_negative_in_value_and_gradient(implementation):
    z1, z2 = normal(6, 4).requires_grad_(), normal(6, 4, seed=1).requires_grad_()
    soft, hard = weighted_negatives(z1, z2, focus=1e-5, implementation=implementation), hardest_negative(z1, z2)
    torch.testing.assert_close(soft, hard, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(x, (z1, z2)) for x in (soft, hard)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-13)


def test_a_wide_focus_is_the_mean_over_all_negatives():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    torch.testing.assert_close(
        weighted_negatives(z1, z2, temperature=0.3, focus=1e9), by_loops(z1, z2, 0.3, 1e9), rtol=1e-7, atol=0
    )


def test_the_hardest_costs_most_and_less_than_hcl_at_its_limit():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    hard = hardest_negative(z1, z2, temperature=0.5)
    assert weighted_negatives(z1, z2, temperature=0.5) < hard
    assert hard < hcl(z1, z2, temperature=0.5, tau_plus=0.0, beta=2000.0)


def test_with_one_other_sample_of_one_document_all_agree():
    """Two samples in coinciding views: the nearest negative and all of them are the same."""
    z = normal(2, 4)
    expected = info_nce(z, z)
    torch.testing.assert_close(hardest_negative(z, z), expected)
    torch.testing.assert_close(weighted_negatives(z, z), expected)


def test_coinciding_views_give_log_2():
    z = torch.ones(5, 3)
    assert hardest_negative(z, z).item() == pytest.approx(math.log(2))
    assert weighted_negatives(z, z).item() == pytest.approx(math.log(2))
