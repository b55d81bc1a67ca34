"""KoLeo: loops, closed forms, duplicates, blocks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.losses import koleo


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_loops(z, p=2.0, eps=1e-8):
    """Each row, of unit length, against all others, one after the other."""
    u = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in z.tolist()]
    total = 0.0
    for i, x in enumerate(u):
        nearest = max((sum(a * b for a, b in zip(x, y, strict=True)), j) for j, y in enumerate(u) if j != i)[1]
        total -= math.log(sum(abs(a - b) ** p for a, b in zip(x, u[nearest], strict=True)) ** (1 / p) + eps)
    return total / len(u)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_value_by_loops(p, eps):
    z = normal(9, 4)
    assert koleo(z, p=p, eps=eps).item() == pytest.approx(by_loops(z, p, eps), abs=1e-13)


def test_opposite_rows_are_2_apart_and_corners_of_a_square_root_2():
    assert koleo(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])).item() == pytest.approx(-math.log(2))
    square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert koleo(square).item() == pytest.approx(-math.log(2) / 2)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_duplicates_cost_the_log_of_eps_and_get_no_gradient(p):
    z = normal(4, 3).repeat(2, 1).requires_grad_()
    loss = koleo(z, p=p, eps=1e-6)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-6))
    assert z.grad.eq(0).all()


def test_near_duplicates_are_pushed_apart():
    z = torch.tensor([[1.0, 0.0], [1.0, 1e-4], [-1.0, 0.0]], requires_grad=True)
    koleo(z).backward()
    assert z.grad.isfinite().all()
    assert z.grad[0, 1] > 0 > z.grad[1, 1]  # descent moves against the gradient


def test_the_gradient_reaches_both_ends():
    z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.1]], dtype=torch.float64, requires_grad=True)
    koleo(z, reduction="none")[0].backward()  # its neighbour is row 1
    assert z.grad[:2].abs().max(1).values.gt(0).all()
    assert z.grad[2].eq(0).all()


@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 40), rows=st.integers(1, 45), seed=st.integers(0, 99))
def test_blocks_of_any_size_find_the_same_neighbours(n, rows, seed):
    z = normal(n, 4, seed=seed)
    whole = koleo(z, reduction="none")
    torch.testing.assert_close(
        torch.cat([koleo(z, rows=slice(i, min(i + rows, n)), reduction="none") for i in range(0, n, rows)]), whole
    )


def test_memory_grows_with_the_batch_and_not_with_its_square(peak_bytes):
    def peak(n):
        z = normal(n, 8, dtype=torch.float32).requires_grad_()
        return peak_bytes(lambda: koleo(z).backward())

    small, large = peak(4096), peak(8192)
    assert large < 1.2 * small
    assert large < 8192**2 * 4 / 10


def test_several_blocks_equal_the_loops():
    z = normal(1500, 3)  # blocks of 699 rows
    nearest = (torch.cdist(z / z.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True)) + 9 * torch.eye(1500)).min(
        1
    )
    torch.testing.assert_close(koleo(z, reduction="none"), -(nearest.values + 1e-8).log(), rtol=1e-6, atol=1e-6)
