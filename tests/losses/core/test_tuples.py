"""Index tuples: products, differences and sums of each anchor, in blocks."""

import pytest
import torch

from nearfar.losses.core.tuples import anchor_lse, products, squared_differences


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def indices(m, n, k):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(size, (k,), generator=generator) for size in (m, n)]


@pytest.mark.parametrize("gathered", [1, 12, 2**18])
def test_blocks_equal_the_whole(gathered, monkeypatch):
    monkeypatch.setattr("nearfar.losses.core.tuples._GATHERED", gathered)
    rows, columns, (i, j) = normal(5, 3).requires_grad_(), normal(7, 3, seed=1).requires_grad_(), indices(5, 7, 20)
    found = [products(rows, columns, i, j), squared_differences(rows, columns, i, j)]
    expected = [(rows[i] * columns[j]).sum(1), (rows[i] - columns[j]).square().sum(1)]
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)
        gradients = [torch.autograd.grad((out * normal(20, seed=2)).sum(), (rows, columns)) for out in (x, y)]
        torch.testing.assert_close(*gradients)


def test_gradcheck_where_rows_are_the_columns():
    i, j = indices(5, 5, 9)
    z = normal(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: (products(z, z, i, j), squared_differences(z, z, i, j)), z)


def test_memory_grows_with_the_tuples_and_not_with_their_width(peak_bytes):
    rows, (i, j) = normal(64, 64).float().requires_grad_(), indices(64, 64, 200_000)
    peak = peak_bytes(lambda: squared_differences(rows, rows, i, j).sum().backward())
    assert peak < 200_000 * 64 * 4 / 2


def test_sums_of_each_anchor_stay_in_range():
    values = torch.tensor([1000.0, 1001.0, -1000.0, 3.0], dtype=torch.float64, requires_grad=True)
    anchors = torch.tensor([0, 0, 3, 1])
    lse = anchor_lse(values, anchors, 4)
    expected = torch.stack([values[:2].logsumexp(0), values[3], torch.tensor(-torch.inf).double(), values[2]])
    torch.testing.assert_close(lse, expected)
    finite = lse[[0, 1, 3]].sum()
    (gradient,) = torch.autograd.grad(finite, values)
    torch.testing.assert_close(gradient.sum(), torch.tensor(3.0).double())


def test_an_anchor_without_values_gets_no_gradient_that_is_nan():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    anchor_lse(values, torch.tensor([0, 0]), 2).exp().sum().backward()
    assert values.grad.isfinite().all()
