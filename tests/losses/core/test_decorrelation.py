"""Squares off the diagonal: loops, blocks, memory."""

import pytest
import torch

from nearfar.losses.core import decorrelation
from nearfar.losses.core.decorrelation import off_diagonal_square


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=["one block", "blocks of 3 rows"])
def blocks(request, monkeypatch):
    if request.param != "one block":
        monkeypatch.setattr(decorrelation, "_ENTRIES", 3 * 7)


@pytest.mark.usefixtures("blocks")
def test_value_by_loops():
    a, b = normal(4, 7), normal(4, 7, seed=1)
    products = {
        (i, j): sum(a[n, i].item() * b[n, j].item() for n in range(4)) for i in range(7) for j in range(7) if i != j
    }
    expected = sum(x * x for x in products.values())
    assert off_diagonal_square(a, b).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.usefixtures("blocks")
def test_gradcheck_of_first_and_second_order():
    inputs = (normal(3, 7).requires_grad_(), normal(3, 7, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(off_diagonal_square, inputs)
    assert torch.autograd.gradgradcheck(off_diagonal_square, inputs)


def test_a_gradient_that_can_be_differentiated_is_the_same_gradient():
    inputs = normal(4, 7).requires_grad_(), normal(4, 7, seed=1).requires_grad_()
    for some in (inputs, inputs[:1]):
        plain = torch.autograd.grad(off_diagonal_square(*some), some)
        torch.testing.assert_close(torch.autograd.grad(off_diagonal_square(*some), some, create_graph=True), plain)


@pytest.mark.usefixtures("blocks")
def test_one_matrix_with_itself_equals_two():
    a = normal(4, 7).requires_grad_()
    alone, twice = off_diagonal_square(a), off_diagonal_square(a, a)
    torch.testing.assert_close(alone, twice)
    torch.testing.assert_close(torch.autograd.grad(alone, a), torch.autograd.grad(twice, a))
    assert torch.autograd.gradcheck(off_diagonal_square, a)
    assert torch.autograd.gradgradcheck(off_diagonal_square, a)


@pytest.mark.usefixtures("blocks")
def test_the_backward_pass_can_be_run_again():
    a = normal(4, 7).requires_grad_()
    loss = 3 * off_diagonal_square(a)
    first = torch.autograd.grad(loss, a, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, a), first, rtol=0, atol=0)


def test_the_diagonal_is_left_out_and_not_subtracted():
    # In float32 the sum of all squares, 3e8, minus that of the diagonal would be a multiple of 32.
    a = torch.eye(3) * 1e2
    a[0, 1] = 1e-3
    assert off_diagonal_square(a, a).item() == pytest.approx(2 * 1e-1**2, rel=1e-6)


def test_memory_stays_below_one_product_of_all_dimensions(peak_bytes):
    def peak(d):
        a, b = (normal(8, d, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
        return peak_bytes(lambda: off_diagonal_square(a, b).backward())

    assert peak(3072) < 3072**2 * 4 / 3
