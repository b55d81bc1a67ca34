"""VICReg: loops, closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.losses import VICRegLoss, vicreg


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_loops(z1, z2, invariance=25.0, variance=25.0, covariance=1.0, eps=1e-4):
    """Eq. 1 to 6, s as in algorithm 1, one entry after the other."""
    b, d = z1.shape
    s = sum((z1[n, i] - z2[n, i]).item() ** 2 for n in range(b) for i in range(d)) / (b * d)
    total = invariance * s
    for z in (z1, z2):
        columns = [z[:, i].tolist() for i in range(d)]
        columns = [[x - sum(column) / b for x in column] for column in columns]
        cov = [[sum(x * y for x, y in zip(p, q, strict=True)) / (b - 1) for q in columns] for p in columns]
        total += variance * sum(max(0.0, 1 - math.sqrt(cov[i][i] + eps)) for i in range(d)) / d
        total += covariance * sum(cov[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return total


@pytest.mark.parametrize("weights", [{}, {"invariance": 1, "variance": 0.3, "covariance": 7.0, "eps": 0.5}])
@pytest.mark.parametrize("size", [0.3, 1.0])
def test_value_by_loops(size, weights):
    z1, z2 = size * normal(6, 4), size * normal(6, 4, seed=1)
    assert vicreg(z1, z2, **weights).item() == pytest.approx(by_loops(z1, z2, **weights), rel=1e-13)


@pytest.mark.parametrize("eps", [1e-4, 0.25])
def test_constant_embeddings_lack_their_variance_in_both_views(eps):
    z = torch.full((5, 3), 0.7, dtype=torch.float64, requires_grad=True)
    loss = vicreg(z, z, variance=10, eps=eps)
    loss.backward()
    assert loss.item() == pytest.approx(2 * 10 * (1 - math.sqrt(eps)), rel=1e-12)
    assert z.grad.isfinite().all()
    assert VICRegLoss(mu_param=10, eps=eps)(z, z).item() == pytest.approx(10 * (1 - math.sqrt(eps)), rel=1e-12)


def test_equal_views_that_vary_and_do_not_correlate_cost_nothing():
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
    assert vicreg(z, z).item() == 0


def test_a_shift_of_one_view_costs_its_square():
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
    assert vicreg(z, z + 0.5, invariance=3).item() == pytest.approx(3 * 0.25)


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(-10, 10), seed=st.integers(0, 99))
def test_a_shift_of_both_views_does_not_matter(shift, seed):
    z1, z2 = normal(8, 3, seed=seed), normal(8, 3, seed=seed + 100)
    torch.testing.assert_close(vicreg(z1 + shift, z2 + shift), vicreg(z1, z2), rtol=1e-11, atol=1e-12)


def test_large_float16_numbers_do_not_overflow():
    z1, z2 = 300 * normal(64, 16), 300 * normal(64, 16, seed=1)  # their squares are beyond 65,504
    half = vicreg(z1.half(), z2.half())
    assert half.item() == pytest.approx(vicreg(z1.half().double(), z2.half().double()).item(), rel=1e-6)


def test_memory_is_linear_in_the_batch_and_below_one_covariance_matrix(peak_bytes):
    def peak(b, d):
        z1, z2 = (normal(b, d, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
        return peak_bytes(lambda: vicreg(z1, z2).backward())

    assert peak(4096, 16) < 2.1 * peak(2048, 16) < 4096 * 2048 * 4
    assert peak(8, 3072) < 3072**2 * 4 / 3


def test_the_module_weighs_the_mean_of_both_variance_terms():
    z1, z2 = 0.3 * normal(6, 4), 0.3 * normal(6, 4, seed=1)
    got = VICRegLoss(lambda_param=2, mu_param=8, nu_param=0.5, eps=1e-3)(z1, z2)
    torch.testing.assert_close(got, vicreg(z1, z2, invariance=2, variance=4, covariance=0.5, eps=1e-3))


def test_the_module_takes_the_mean_over_places():
    z1, z2 = 0.3 * normal(6, 2, 3, 4), 0.3 * normal(6, 2, 3, 4, seed=1)
    module = VICRegLoss()
    expected = torch.stack([module(z1[:, i, j], z2[:, i, j]) for i in range(2) for j in range(3)]).mean()
    torch.testing.assert_close(module(z1, z2), expected)
