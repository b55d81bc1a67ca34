"""HCL: known value, loops, and what it becomes at its limits."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import HCLLoss, debiased, hcl, nt_xent

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z1, z2, temperature, tau_plus, beta, ids=None):
    u = [F.normalize(z.detach()) for z in (z1, z2)]
    b, total = len(z1), 0.0
    for view in (0, 1):
        for i in range(b):
            others = [j for j in range(b) if (j != i if ids is None else ids[j] != ids[i])]
            t = [float(u[view][i] @ u[w][j]) / temperature for j in others for w in (0, 1)]
            importance = [math.exp(beta * x) for x in t]
            mean = sum(importance) / len(t)
            negatives = sum(w * math.exp(x) for w, x in zip(importance, t, strict=True)) / mean
            positive = math.exp(float(u[view][i] @ u[1 - view][i]) / temperature)
            estimate = (negatives - tau_plus * len(t) * positive) / (1 - tau_plus)
            estimate = max(estimate, len(t) * math.exp(-1 / temperature))
            total -= math.log(positive / (positive + estimate))
    return total / (2 * b)


@TILED
def test_known_value(implementation, case):
    known = case("hcl_t0.5_tau0.1_beta1")
    z1, z2 = known["inputs"]["z1"], known["inputs"]["z2"]
    assert hcl(z1, z2, implementation=implementation).item() == pytest.approx(known["value"], abs=1e-13)
    assert HCLLoss()(z1, z2).item() == pytest.approx(known["value"], abs=1e-13)


@TILED
def test_without_weights_and_false_negatives_it_is_nt_xent_exactly(implementation, case):
    known = case("hcl_identity_check_beta0_tau0")
    z1, z2 = known["inputs"]["z1"], known["inputs"]["z2"]
    got = hcl(z1, z2, temperature=0.5, tau_plus=0.0, beta=0.0, implementation=implementation)
    assert got.item() == pytest.approx(known["value"], abs=1e-14)
    torch.testing.assert_close(got, nt_xent(z1, z2, temperature=0.5), rtol=1e-14, atol=1e-14)


@TILED
@pytest.mark.parametrize("ids", [None, [0, 1, 0, 2, 3, 1]], ids=["plain", "ids"])
@pytest.mark.parametrize(("tau_plus", "beta"), [(0.0, 0.0), (0.0, 2.0), (0.1, 0.5), (0.4, 3.0)])
def test_value_by_loops(tau_plus, beta, ids, implementation):
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    tensor = None if ids is None else torch.tensor(ids)
    options = {"temperature": 0.4, "tau_plus": tau_plus, "beta": beta}
    got = hcl(z1, z2, ids=tensor, implementation=implementation, **options)
    assert got.item() == pytest.approx(by_loops(z1, z2, ids=ids, **options), rel=1e-12)


def test_without_weights_it_is_the_debiased_loss():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    assert hcl(z1, z2, beta=0.0).equal(debiased(z1, z2))


@TILED
def test_a_large_beta_counts_the_nearest_negative_n_times(implementation):
    z1, z2 = normal(5, 4), normal(5, 4, seed=1)
    u = F.normalize(torch.stack([z1, z2], dim=1), dim=-1).flatten(0, 1)
    s = u @ u.T
    sample = torch.arange(10) // 2
    nearest = s.masked_fill(sample[:, None] == sample, -1.0).amax(1)
    positive = s[torch.arange(10), torch.arange(10) ^ 1]
    expected = torch.log1p(8 * ((nearest - positive) / 0.5).exp()).mean()
    got = hcl(z1, z2, tau_plus=0.0, beta=2000.0, implementation=implementation)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=0)


def test_more_weight_on_near_negatives_is_more_loss():
    z1, z2 = normal(8, 4), normal(8, 4, seed=1)
    losses = [hcl(z1, z2, tau_plus=0.0, beta=beta).item() for beta in (0.0, 0.5, 1.0, 4.0)]
    assert losses == sorted(losses)


@TILED
def test_coinciding_views_give_the_closed_form(implementation):
    z = torch.ones(5, 3).double()
    assert hcl(z, z, implementation=implementation).item() == pytest.approx(math.log(9))
