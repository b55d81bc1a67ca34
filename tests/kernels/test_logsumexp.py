"""The tiled log-sum-exp equals the plain one: value and gradient, whatever the shape, the mask and the range."""

import math
import subprocess
import sys

import pytest
import torch

from nearfar.errors import ConfigError, UnknownName
from nearfar.kernels import (
    ALL_PAIRS,
    IMPLEMENTATIONS,
    Pairs,
    choose,
    logsumexp,
    row_column_lse,
    row_lse,
    self_lse,
)
from nearfar.kernels.dense import dense_lse
from nearfar.kernels.tiled import tiled_lse


def normal(*shape, dtype=torch.float64, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale


def outcome(kernel, a, b, scale, bias=None, pairs=ALL_PAIRS, columns=False, seed=3, **options):
    """Values, and gradients of a weighted sum of them, of leaves made from the arguments."""
    leaves = [x.clone().requires_grad_() if x is not None else None for x in (a, b, torch.as_tensor(scale), bias)]
    leaves[2] = torch.tensor(float(scale), dtype=a.dtype, requires_grad=True)
    values = [v for v in kernel(*leaves, pairs, columns=columns, **options) if v is not None]
    finite = [torch.where(v.isinf(), 0.0, v) for v in values]
    sum((v * normal(len(v), dtype=v.dtype, seed=seed + k)).sum() for k, v in enumerate(finite)).backward()
    return values + [leaf.grad for leaf in leaves if leaf is not None]


def assert_same(first, second, atol=1e-11):
    for x, y in zip(first, second, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=atol)


SHAPES = [(1, 1), (1, 7), (7, 1), (5, 5), (16, 16), (17, 33), (40, 23), (3, 64)]


@pytest.mark.parametrize("scale", [3.0, 1000.0], ids=["bounded", "online"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("columns", [False, True])
def test_oblong_tiles_equal_dense(shape, columns, scale):
    a, b = normal(shape[0], 6), normal(shape[1], 6, seed=1)
    for edge in (8, 64):
        tiled = outcome(tiled_lse, a, b, scale, columns=columns, edge=edge)
        assert_same(tiled, outcome(dense_lse, a, b, scale, columns=columns), atol=1e-9)


@pytest.mark.parametrize("scale", [3.0, 1000.0], ids=["bounded", "online"])
@pytest.mark.parametrize("n", [2, 7, 8, 9, 16, 37, 61])
def test_symmetric_tiles_equal_dense(n, scale):
    z, pairs = normal(n, 6), Pairs(0)
    for edge in (8, 128):
        tiled = outcome(tiled_lse, z, None, scale, pairs=pairs, edge=edge)
        assert_same(tiled, outcome(dense_lse, z, None, scale, pairs=pairs), atol=1e-9)


@pytest.mark.parametrize("scale", [3.0, 1000.0], ids=["bounded", "online"])
@pytest.mark.parametrize("keep", ["different", "same"])
def test_groups_equal_dense_with_rows_left_empty(keep, scale):
    a, b = normal(19, 4), normal(23, 4, seed=1)
    row_groups, column_groups = torch.arange(19) % 5, torch.arange(23) % 3
    pairs = Pairs(2, row_groups, column_groups, keep)
    tiled = outcome(tiled_lse, a, b, scale, pairs=pairs, columns=True, edge=8)
    assert_same(tiled, outcome(dense_lse, a, b, scale, pairs=pairs, columns=True), atol=1e-9)
    assert all(x.isfinite().all() for x in tiled[2:])


@pytest.mark.parametrize("scale", [3.0, 1000.0], ids=["bounded", "online"])
def test_a_bias_of_columns_equals_dense(scale):
    a, b = normal(19, 4), normal(23, 4, seed=1)
    bias = normal(23, seed=5).masked_fill(torch.arange(23) % 4 == 0, -torch.inf)
    tiled = outcome(tiled_lse, a, b, scale, bias=bias, columns=True, edge=8)
    assert_same(tiled, outcome(dense_lse, a, b, scale, bias=bias, columns=True), atol=1e-9)


@pytest.mark.parametrize("columns", [False, True])
def test_a_problem_of_rows_with_themselves_may_have_a_bias_and_columns(columns):
    z, bias = normal(19, 4), normal(19, seed=5)
    options = {"bias": bias, "pairs": Pairs(0), "columns": columns}
    tiled = outcome(tiled_lse, z, None, 3.0, edge=8, **options)
    assert_same(tiled, outcome(dense_lse, z, None, 3.0, **options), atol=1e-9)


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_lse_equals_a_loop(implementation):
    a, b = normal(5, 3), normal(4, 3, seed=1)
    got = row_lse(a, b, scale=2.0, implementation=implementation)
    expected = [math.log(sum(math.exp(2.0 * float(x @ y)) for y in b)) for x in a]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_columns_that_are_not_valid_are_as_if_absent(implementation):
    a, b, valid = normal(9, 3), normal(12, 3, seed=1), torch.arange(12) % 3 != 0
    got, by_column = row_column_lse(a, b, valid=valid, implementation=implementation)
    torch.testing.assert_close(got, row_lse(a, b[valid], implementation="dense"))
    assert (by_column == -torch.inf).equal(~valid)


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_a_row_without_pairs_is_minus_infinity_and_gets_gradient_zero(implementation):
    z = normal(6, 3).requires_grad_()
    lse = self_lse(z, groups=torch.tensor([0, 0, 0, 0, 0, 0]), implementation=implementation)
    lse.masked_fill(lse.isinf(), 0.0).sum().backward()
    assert (lse == -torch.inf).all()
    assert z.grad.eq(0).all()


def test_self_column_moves_with_the_row_offset():
    z = normal(20, 4)
    whole = self_lse(z, implementation="tiled")
    part = row_lse(z[7:15], z, pairs=Pairs(7), implementation="tiled")
    torch.testing.assert_close(part, whole[7:15], rtol=1e-13, atol=0)


def test_one_bias_for_all_shifts_and_gets_its_gradient():
    a, b, bias = normal(5, 3), normal(4, 3, seed=1), torch.tensor(-10.0, dtype=torch.float64, requires_grad=True)
    got = row_lse(a, b, bias=bias, implementation="tiled")
    torch.testing.assert_close(got, row_lse(a, b) - 10)
    assert torch.autograd.grad(got.sum(), bias)[0] == 5


@pytest.mark.parametrize("scale", [2.0, 400.0], ids=["bounded", "online"])
def test_gradcheck(scale):
    a, b = normal(5, 3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()
    scale = torch.tensor(scale / 100, dtype=torch.float64, requires_grad=True)
    bias = normal(6, seed=2).requires_grad_()
    factor = 100 if scale > 1 else 1

    def run(a, b, scale, bias):
        return tiled_lse(a * factor, b, scale, bias, Pairs(1), columns=True, edge=4)

    assert torch.autograd.gradcheck(run, (a, b, scale, bias))


def test_logits_beyond_the_range_of_exp_stay_finite_in_float32():
    a = torch.eye(4).repeat(5, 1).requires_grad_()
    lse = self_lse(a, scale=1000.0, implementation="tiled")
    lse.sum().backward()
    torch.testing.assert_close(lse, torch.full((20,), 1000 + math.log(4)))
    assert a.grad.isfinite().all()


def test_auto_takes_the_whole_matrix_only_when_it_is_small():
    assert choose("auto", 64, 64) is dense_lse
    assert choose("auto", 4096, 4096) is tiled_lse


def test_auto_takes_triton_on_a_gpu_that_runs_it_and_never_for_float64(monkeypatch):
    gpu, triton = torch.device("cuda", 0), IMPLEMENTATIONS["triton"]
    monkeypatch.setattr(logsumexp, "_runs_triton", lambda device: device == gpu)
    assert choose("auto", 4096, 4096, device=gpu) is triton
    assert choose("auto", 64, 64, device=gpu) is dense_lse
    assert choose("auto", 4096, 4096, device=gpu, dtype=torch.float64) is tiled_lse
    assert choose("auto", 4096, 4096, device=torch.device("cuda", 1)) is tiled_lse


def output(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_machine_without_triton_computes_and_says_what_it_lacks():
    code = """
import sys
sys.modules["triton"] = None  # what an import of it then raises is what a machine without it raises
import torch
from nearfar.losses import nt_xent
z = torch.randn(600, 4)
nt_xent(z, -z)
try:
    nt_xent(z, -z, implementation="triton")
except ValueError as error:
    print(type(error).__name__, error)
"""
    assert output(code).startswith("ConfigError implementation='triton' needs the package triton")


def test_triton_is_imported_only_when_it_is_chosen():
    code = """
import sys, torch
from nearfar.losses import nt_xent
z = torch.randn(600, 4)
nt_xent(z, -z)
print("triton" in sys.modules, "nearfar.kernels.triton_lse" in sys.modules)
"""
    assert output(code) == "False False"


def test_losses_import_torch_alone():
    code = """
import sys, torch
before = set(sys.modules)
import nearfar.losses
new = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*sorted(name for name in new if name != "torch"))
"""
    assert output(code) == "nearfar"


def test_only_the_triton_form_is_told_the_type_of_products(monkeypatch):
    told = []

    def kernel(a, b, scale, bias, pairs, *, columns, product=None):
        told.append((a.dtype, product))
        return tiled_lse(a, b, scale, bias, pairs, columns=columns)

    monkeypatch.setattr(logsumexp, "triton_lse", kernel)
    monkeypatch.setitem(IMPLEMENTATIONS, "triton", kernel)
    half, single = normal(6, 3, dtype=torch.bfloat16), normal(6, 3, dtype=torch.float32)
    for z, asked in ((half, None), (single, None), (single, torch.float16)):
        self_lse(z, implementation="triton", product=asked)
        assert self_lse(z, implementation="tiled", product=asked).equal(self_lse(z, implementation="tiled"))
    row_lse(half, single, implementation="triton")
    assert told == [
        (torch.float32, torch.bfloat16),
        (torch.float32, None),
        (torch.float32, torch.float16),
        (torch.float32, None),
    ]


def test_an_implementation_that_does_not_exist_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'tiled'"):
        row_lse(normal(2, 2), normal(2, 2), implementation="tile")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": Pairs(5)}, "self_column must lie in 0..2"),
        ({"pairs": Pairs(row_groups=torch.zeros(3))}, "come together"),
        ({"pairs": Pairs(None, torch.zeros(3), torch.zeros(4))}, "3 rows and 5 columns"),
        ({"pairs": Pairs(keep="near")}, "'different' or 'same'"),
        ({"bias": torch.zeros(3)}, "bias must be"),
        ({"valid": torch.ones(3, dtype=torch.bool)}, "valid must be"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        row_lse(normal(3, 2), normal(5, 2), **options)


def test_widths_must_agree():
    with pytest.raises(ConfigError, match="one width"):
        row_lse(normal(3, 2), normal(5, 3))


def test_no_rows_give_no_results_and_zero_gradients():
    a, b = normal(0, 3).requires_grad_(), normal(5, 3).requires_grad_()
    lse = row_lse(a, b, implementation="tiled")
    lse.sum().backward()
    assert lse.shape == (0,)
    assert b.grad.eq(0).all()


def test_the_table_of_implementations_is_the_choice():
    assert set(IMPLEMENTATIONS) == {"dense", "tiled", "triton"}
