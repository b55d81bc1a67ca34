"""The debiased loss: known value, loops, the floor, its limit NT-Xent."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import DebiasedLoss, debiased, nt_xent

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z1, z2, temperature, tau_plus, ids=None):
    u = [F.normalize(z.detach()) for z in (z1, z2)]
    b, total = len(z1), 0.0
    for view in (0, 1):
        for i in range(b):
            others = [j for j in range(b) if (j != i if ids is None else ids[j] != ids[i])]
            count = 2 * len(others)
            negatives = sum(math.exp(float(u[view][i] @ u[w][j]) / temperature) for j in others for w in (0, 1))
            positive = math.exp(float(u[view][i] @ u[1 - view][i]) / temperature)
            estimate = (negatives - tau_plus * count * positive) / (1 - tau_plus)
            estimate = max(estimate, count * math.exp(-1 / temperature))
            total -= math.log(positive / (positive + estimate))
    return total / (2 * b)


@TILED
def test_known_value(implementation, case):
    known = case("debiased_t0.5_tau0.1")
    z1, z2 = known["inputs"]["z1"], known["inputs"]["z2"]
    assert debiased(z1, z2, implementation=implementation).item() == pytest.approx(known["value"], abs=1e-13)
    assert DebiasedLoss()(z1, z2).item() == pytest.approx(known["value"], abs=1e-13)


@TILED
@pytest.mark.parametrize("tau_plus", [0.0, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("ids", [None, [0, 1, 0, 2, 3, 1]], ids=["plain", "ids"])
def test_value_by_loops(tau_plus, ids, implementation):
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    tensor = None if ids is None else torch.tensor(ids)
    got = debiased(z1, z2, temperature=0.4, tau_plus=tau_plus, ids=tensor, implementation=implementation)
    assert got.item() == pytest.approx(by_loops(z1, z2, 0.4, tau_plus, ids), rel=1e-12)


@TILED
def test_with_no_false_negatives_it_is_nt_xent(implementation):
    z1, z2, ids = normal(6, 4), normal(6, 4, seed=1), torch.tensor([0, 1, 0, 2, 3, 1])
    for given in (None, ids):
        got = debiased(z1, z2, temperature=0.1, tau_plus=0.0, ids=given, implementation=implementation)
        torch.testing.assert_close(got, nt_xent(z1, z2, temperature=0.1, ids=given), rtol=1e-13, atol=1e-13)


@TILED
def test_where_nothing_is_left_the_floor_holds_and_its_gradient_is_finite(implementation):
    """Orthogonal samples whose views coincide: tau_plus N e^{1/t} is more than the sum of negatives."""
    z = torch.eye(4).requires_grad_()
    loss = debiased(z, z, temperature=0.1, tau_plus=0.5, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(math.log1p(6 * math.exp(-20)), rel=1e-4)
    assert z.grad.isfinite().all()


@TILED
def test_coinciding_views_give_the_closed_form(implementation):
    """The estimate is then N e^{1/t}, whatever tau_plus: log(1 + N)."""
    z = torch.ones(5, 3).double()
    for tau_plus in (0.0, 0.1):
        got = debiased(z, z, tau_plus=tau_plus, implementation=implementation)
        assert got.item() == pytest.approx(math.log(9))


def test_more_false_negatives_mean_a_weaker_push():
    z1, z2 = normal(8, 16), normal(8, 16, seed=1) * 0.3 + normal(8, 16)
    losses = [debiased(z1, z2, tau_plus=tau).item() for tau in (0.0, 0.05, 0.1)]
    assert losses == sorted(losses, reverse=True)
