"""Barlow Twins: loops, closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.losses import barlow_twins


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_loops(z1, z2, redundancy, eps):
    """Eq. 1 with the correlations of eq. 2, one entry after the other."""
    b, d = z1.shape

    def centred(z, i):
        column = z[:, i].tolist()
        mean = sum(column) / b
        return [x - mean for x in column]

    total = 0.0
    for i in range(d):
        for j in range(d):
            x, y = centred(z1, i), centred(z2, j)
            covariance = sum(p * q for p, q in zip(x, y, strict=True)) / b
            variances = (sum(p * p for p in x) / b + eps) * (sum(q * q for q in y) / b + eps)
            c = covariance / math.sqrt(variances)
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


def decorrelated(dtype=torch.float64):
    """Columns of mean 0 and variance 1 that do not correlate: those of a Hadamard matrix without the constant one."""
    h = torch.ones(1, 1, dtype=dtype)
    for _ in range(3):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h[:, 1:]


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("redundancy", [5e-3, 0.7])
def test_value_by_loops(redundancy, eps):
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    got = barlow_twins(z1, z2, redundancy=redundancy, eps=eps).item()
    assert got == pytest.approx(by_loops(z1, z2, redundancy, eps), abs=1e-13)


def test_equal_views_without_redundancy_cost_nothing():
    z = decorrelated()
    assert barlow_twins(z, z, eps=0).item() == pytest.approx(0, abs=1e-28)
    assert barlow_twins(z, z).item() == pytest.approx(7 * (1 - 1 / (1 + 1e-5)) ** 2, rel=1e-5)


def test_opposite_views_cost_4_a_dimension():
    z = decorrelated()
    assert barlow_twins(z, -z, eps=0).item() == pytest.approx(4 * 7, rel=1e-14)


def test_dimensions_that_are_all_the_same_cost_their_pairs():
    z = normal(9, 1).expand(9, 5)
    assert barlow_twins(z, z, redundancy=0.01, eps=0).item() == pytest.approx(0.01 * 5 * 4, rel=1e-13)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_collapsed_views_cost_1_a_dimension_and_have_a_finite_gradient(eps):
    z1, z2 = torch.full((6, 4), 0.3, requires_grad=True), torch.zeros(6, 4)
    loss = barlow_twins(z1, z2, eps=eps)
    loss.backward()
    assert loss.item() == pytest.approx(4)
    assert z1.grad.isfinite().all()


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), shift=st.floats(-10, 10), seed=st.integers(0, 99))
def test_scale_and_shift_of_each_dimension_do_not_matter(factor, shift, seed):
    z1, z2 = normal(8, 3, seed=seed), normal(8, 3, seed=seed + 100)
    factors = torch.tensor([factor, 1.0, 1 / factor], dtype=torch.float64)
    moved = barlow_twins(z1 * factors + shift, z2 - shift, eps=0)
    torch.testing.assert_close(moved, barlow_twins(z1, z2, eps=0), rtol=1e-7, atol=1e-9)


def test_a_large_mean_does_not_drown_the_variance():
    z1, z2 = normal(64, 8), normal(64, 8, seed=1)
    moved = barlow_twins(z1.float() + 100, z2.float() + 100)
    assert moved.item() == pytest.approx(barlow_twins(z1, z2).item(), rel=1e-5)


def test_memory_is_linear_in_the_batch_and_below_one_correlation_matrix(peak_bytes):
    def peak(b, d):
        z1, z2 = (normal(b, d, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
        return peak_bytes(lambda: barlow_twins(z1, z2).backward())

    assert peak(4096, 16) < 2.1 * peak(2048, 16) < 4096 * 2048 * 4
    assert peak(8, 3072) < 3072**2 * 4 / 3
