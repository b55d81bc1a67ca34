"""Sums of softplus by tiles equal those of the whole matrix: value, gradient, pairs, range."""

import pytest
import torch

from nearfar.errors import ConfigError, UnknownName
from nearfar.kernels import Pairs, row_softplus, softplus


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outcome(m, n, pairs, scale, bias, dtype=torch.float64, **options):
    leaves = [normal(m, 4), normal(n, 4, seed=1), torch.tensor(scale).double(), torch.tensor(bias).double()]
    leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
    out = row_softplus(leaves[0], leaves[1], scale=leaves[2], bias=leaves[3], pairs=pairs, **options)
    (out * normal(m, seed=2).to(dtype)).sum().backward()
    return [out, *(leaf.grad for leaf in leaves)]


def groups(m, n):
    return Pairs(row_groups=torch.arange(m) % 3, column_groups=torch.arange(n) % 3)


@pytest.mark.parametrize(("scale", "bias"), [(0.3, -2.0), (50.0, 7.0)], ids=["bounded", "unbounded"])
@pytest.mark.parametrize("edge", [3, 64])
@pytest.mark.parametrize(
    ("m", "n", "pairs"),
    [(1, 1, Pairs()), (7, 5, groups(7, 5)), (5, 11, Pairs(self_column=2)), (1, 9, Pairs()), (9, 1, Pairs())],
)
def test_tiles_equal_the_whole(m, n, pairs, edge, scale, bias, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": edge})
    tiled, dense = (outcome(m, n, pairs, scale, bias, implementation=how) for how in ("tiled", "dense"))
    for x, y in zip(tiled, dense, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-12)


def test_value_by_loops():
    a, b = normal(4, 3), normal(5, 3, seed=1)
    got = row_softplus(a, b, scale=2.0, bias=-0.5, pairs=Pairs(self_column=1), implementation="tiled")
    for i in range(4):
        others = [j for j in range(5) if j != i + 1]
        expected = sum(torch.log1p((2 * (a[i] @ b[j]) - 0.5).exp()) for j in others)
        assert got[i].item() == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize(("x", "expected"), [(-800.0, 0.0), (0.0, 0.6931471805599453), (25.0, 25.000000000013888)])
def test_softplus_is_exact_in_float64(x, expected):
    assert softplus(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-15, abs=1e-300)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_keeps_all_digits_from_the_smallest_to_the_largest(dtype):
    x = torch.linspace(-87, 87, 4001, dtype=torch.float64).to(dtype)
    exact = x.double().clamp(min=0) + torch.log1p((-x.double().abs()).exp())
    error = (softplus(x).double() / exact - 1).abs().max().item()
    assert error < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_below_the_smallest_number_is_0(dtype):
    x = torch.tensor([-800.0, -torch.inf], dtype=dtype)
    assert softplus(x).tolist() == [0, 0]
    assert softplus(-x).tolist() == [800, torch.inf]


def test_softplus_can_be_differentiated_twice():
    x = torch.tensor([-30.0, -1.0, 0.5, 30.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(softplus, x)
    assert torch.autograd.gradgradcheck(softplus, x)


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_gradcheck(implementation):
    leaves = [normal(5, 3), normal(4, 3, seed=1), torch.tensor(2.0).double(), torch.tensor(-1.0).double()]
    pairs = groups(5, 4)
    assert torch.autograd.gradcheck(
        lambda a, b, s, c: row_softplus(a, b, scale=s, bias=c, pairs=pairs, implementation=implementation),
        [leaf.requires_grad_() for leaf in leaves],
    )


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_logits_beyond_the_range_of_exp_are_finite(implementation):
    a = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    out = row_softplus(a, torch.ones(3, 1), implementation=implementation)
    out.sum().backward()
    torch.testing.assert_close(out, torch.tensor([900.0, 0.0]))
    torch.testing.assert_close(a.grad, torch.tensor([[3.0], [0.0]]))


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_no_rows_no_columns_and_no_pairs(implementation):
    assert row_softplus(normal(0, 3), normal(4, 3), implementation=implementation).shape == (0,)
    assert row_softplus(normal(4, 3), normal(0, 3), implementation=implementation).eq(0).all()
    same = Pairs(row_groups=torch.zeros(4), column_groups=torch.zeros(5))
    assert row_softplus(normal(4, 3), normal(5, 3), pairs=same, implementation=implementation).eq(0).all()


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="one width"):
        row_softplus(normal(2, 3), normal(2, 4))
    with pytest.raises(UnknownName, match="Did you mean 'tiled'"):
        row_softplus(normal(2, 3), normal(2, 3), implementation="tile")
