"""The Triton form equals the plain one: value and gradient, whatever the shape, the mask, the range and the type.

Where there is a GPU the tests run on it. Without one, and beside it, they run interpreted on the CPU, in one process of
their own, since triton reads TRITON_INTERPRET when it is imported.
"""

import importlib.util
import math
import os
import subprocess
import sys

import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.kernels import ALL_PAIRS, Pairs, row_column_lse, row_lse, self_lse
from nearfar.kernels.dense import dense_lse
from nearfar.losses import clip, info_nce, nt_xent

HAVE_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HAVE_GPU = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
DEVICE = "cuda" if HAVE_GPU and not INTERPRETED else "cpu"

needs_triton = pytest.mark.skipif(not HAVE_TRITON, reason="triton is not installed")
runs = pytest.mark.skipif(
    not HAVE_TRITON or not (HAVE_GPU or INTERPRETED), reason="no GPU here: these run interpreted, in their own process"
)
on_gpu = pytest.mark.skipif(not HAVE_TRITON or DEVICE == "cpu", reason="needs a GPU of capability 8.0")

if HAVE_TRITON:
    from nearfar.kernels import triton_sweeps
    from nearfar.kernels.triton_lse import blocks_for, triton_lse
    from nearfar.kernels.triton_sweeps import Blocks

    SMALL = (Blocks(16, 16, 16, 16, 4, 2), Blocks(32, 16, 16, 32, 4, 2))

ONLINE = pytest.mark.parametrize("scale", [5.0, 100.0], ids=["bounded", "online"])


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def unit(*shape, seed=0, dtype=torch.float32):
    z = normal(*shape, seed=seed)
    return (z / z.norm(dim=-1, keepdim=True)).to(dtype)


def outcome(kernel, a, b, scale, bias=None, pairs=ALL_PAIRS, columns=False, dtype=None, **options):
    """Values, and gradients of a weighted sum of the finite ones, of leaves made from the arguments, in float64."""
    given = (a, b, torch.tensor(scale, device=a.device), bias)
    leaves = [None if x is None else x.detach().clone().to(dtype or x.dtype).requires_grad_() for x in given]
    values = [v for v in kernel(*leaves, pairs, columns=columns, **options) if v is not None]
    finite = [torch.where(v.isinf(), 0.0, v) for v in values]
    sum((v * normal(len(v), seed=7 + k).to(v.dtype)).sum() for k, v in enumerate(finite)).backward()
    return values, [leaf.grad for leaf in leaves if leaf is not None]


def assert_equals_dense(a, b, scale, *, precision=2e-6, weight_precision=2e-6, **options):
    """Within `precision` of a product of unit vectors, and weights within `weight_precision` beside that."""
    plain = {k: v for k, v in options.items() if k not in ("blocks", "product")}
    values, grads = outcome(triton_lse, a, b, scale, **options)
    exact_values, exact_grads = outcome(dense_lse, a, b, scale, dtype=torch.float64, **plain)
    for x, y in zip(values, exact_values, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-6, atol=precision * (1 + scale))
    for x, y in zip(grads, exact_grads, strict=True):
        allowed = (precision * (1 + scale) + weight_precision) * max(1.0, float(y.abs().max()) if y.numel() else 1.0)
        torch.testing.assert_close(x.double(), y, rtol=0, atol=allowed)


@runs
@ONLINE
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("shape", [(1, 40), (37, 1), (33, 50)])
def test_oblong_problems_equal_dense(shape, columns, scale):
    a, b = unit(shape[0], 6), unit(shape[1], 6, seed=1)
    assert_equals_dense(a, b, scale, columns=columns, blocks=SMALL)


@runs
@ONLINE
def test_blocks_larger_than_the_problem_equal_dense(scale):
    assert_equals_dense(unit(20, 6), unit(9, 6, seed=1), scale, columns=True)


@runs
@ONLINE
@pytest.mark.parametrize("n", [2, 32, 61])
def test_symmetric_problems_equal_dense(n, scale):
    assert_equals_dense(unit(n, 6), None, scale, pairs=Pairs(0), blocks=SMALL)


@runs
@pytest.mark.parametrize("options", [{}, {"columns": True}, {"pairs": Pairs(0), "columns": True}])
def test_the_rows_with_themselves_and_both_sides_equal_dense(options):
    assert_equals_dense(unit(35, 6), None, 5.0, blocks=SMALL, **options)


@runs
@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("programs", [1, 5])
def test_the_cut_into_strips_and_chunks_changes_nothing_but_rounding(at_once, programs, monkeypatch):
    monkeypatch.setattr(triton_sweeps, "_BLOCKS_AT_ONCE", at_once)
    monkeypatch.setattr(triton_sweeps, "_FORWARD_PROGRAMS", programs)
    monkeypatch.setattr(triton_sweeps, "_BACKWARD_PROGRAMS", programs)
    assert_equals_dense(unit(53, 6), None, 5.0, pairs=Pairs(0), blocks=SMALL)
    assert_equals_dense(unit(37, 6), unit(50, 6, seed=1), 100.0, columns=True, blocks=SMALL)


@runs
@ONLINE
@pytest.mark.parametrize("keep", ["different", "same"])
def test_groups_equal_dense_with_rows_left_empty(keep, scale):
    a, b = unit(35, 6), unit(50, 6, seed=1)
    row_groups, column_groups = torch.arange(35, device=DEVICE) % 5, torch.arange(50, device=DEVICE) % 3
    pairs = Pairs(9, row_groups.int(), column_groups.int(), keep)
    assert_equals_dense(a, b, scale, pairs=pairs, columns=True, blocks=SMALL)


@runs
@pytest.mark.parametrize("keep", ["different", "same"])
def test_groups_of_a_symmetric_problem_equal_dense_in_any_integers(keep):
    groups = torch.arange(35, device=DEVICE) % 4 * 2**40  # equal in their lower 32 bits
    assert_equals_dense(unit(35, 6), None, 5.0, pairs=Pairs(0, groups, groups, keep), blocks=SMALL)


@runs
@ONLINE
@pytest.mark.parametrize("columns", [False, True])
def test_a_bias_of_columns_some_of_them_left_out_equals_dense(columns, scale):
    bias = normal(50, seed=5).masked_fill(torch.arange(50, device=DEVICE) % 4 == 0, -torch.inf)
    assert_equals_dense(unit(35, 6), unit(50, 6, seed=1), scale, bias=bias, columns=columns, blocks=SMALL)


@runs
@pytest.mark.parametrize("start", [0, 5, 30])
def test_the_self_column_moves_with_the_row_offset(start):
    z = unit(53, 6)
    assert_equals_dense(z[start : start + 20], z, 5.0, pairs=Pairs(start), columns=True, blocks=SMALL)


@runs
@pytest.mark.parametrize("width", [1, 17, 40])
def test_any_width_equals_dense_in_one_piece_or_several(width):
    for pairs, b in ((Pairs(0), None), (ALL_PAIRS, unit(20, width, seed=1))):
        assert_equals_dense(unit(35, width), b, 5.0, pairs=pairs, blocks=SMALL)


@runs
@pytest.mark.parametrize("columns", [False, True])
def test_sums_too_far_apart_for_one_exp_equal_dense(columns):
    a = unit(35, 6) * torch.linspace(0, 3, 35, device=DEVICE)[:, None]
    assert_equals_dense(a, unit(50, 6, seed=1), 100.0, columns=columns, precision=6e-6, blocks=SMALL)


@runs
def test_logits_beyond_the_range_of_exp_stay_finite():
    z = torch.eye(4, device=DEVICE).repeat(5, 1).requires_grad_()
    lse = self_lse(z, scale=1000.0, implementation="triton")
    lse.sum().backward()
    torch.testing.assert_close(lse, torch.full((20,), 1000 + math.log(4), device=DEVICE))
    assert z.grad.isfinite().all()


@runs
@pytest.mark.parametrize(("m", "n"), [(0, 5), (5, 0), (0, 0)])
def test_no_rows_or_no_columns_give_nothing_and_zero_gradients(m, n):
    a, b = normal(m, 3).requires_grad_(), normal(n, 3).requires_grad_()
    by_row, by_column = row_column_lse(a, b, implementation="triton")
    assert by_row.tolist() == [-math.inf] * m
    assert by_column.tolist() == [-math.inf] * n
    torch.cat([by_row, by_column]).masked_fill(torch.ones(m + n, dtype=torch.bool, device=DEVICE), 0.0).sum().backward()
    assert a.grad.eq(0).all()
    assert b.grad.eq(0).all()


@runs
def test_a_row_without_pairs_is_minus_infinity_and_gets_gradient_zero():
    z = normal(6, 3).requires_grad_()
    lse = self_lse(z, groups=torch.zeros(6, dtype=torch.int32, device=DEVICE), implementation="triton")
    lse.sum().backward()
    assert (lse == -torch.inf).all()
    assert z.grad.eq(0).all()


@runs
def test_only_the_gradients_asked_for_are_made_and_are_the_same():
    a, b, bias = unit(35, 6), unit(20, 6, seed=1), normal(20, seed=2)
    scale = torch.tensor(5.0, device=DEVICE)
    all_of_them = outcome(triton_lse, a, b, 5.0, bias=bias, blocks=SMALL)[1]
    for k in range(4):
        given = [x.clone().requires_grad_(i == k) for i, x in enumerate((a, b, scale, bias))]
        lse = triton_lse(*given, ALL_PAIRS, columns=False, blocks=SMALL)[0]
        (lse * normal(35, seed=7)).sum().backward()
        assert given[k].grad.equal(all_of_them[k])


@runs
@ONLINE
def test_half_inputs_are_multiplied_as_they_are(scale):
    a, b = unit(35, 6, dtype=torch.float16), unit(50, 6, seed=1, dtype=torch.float16)
    assert_equals_dense(a, b, scale, columns=True, weight_precision=2**-10, blocks=SMALL)
    assert_equals_dense(a, None, scale, pairs=Pairs(0), weight_precision=2**-10, blocks=SMALL)


@runs
def test_float16_weights_do_not_vanish_where_gradients_are_small():
    z = unit(40, 6, dtype=torch.float16).float().requires_grad_()
    lse = self_lse(z, scale=20.0, implementation="triton", product=torch.float16)
    (grad,) = torch.autograd.grad(lse.sum() * 2**-40, z)
    (exact,) = torch.autograd.grad(self_lse(z.double(), scale=20.0, implementation="dense").sum() * 2**-40, z)
    torch.testing.assert_close(grad, exact, rtol=2**-9, atol=2**-10 * float(exact.abs().max()))


@runs
@pytest.mark.parametrize("scale", [10.0, 100.0])
def test_rounding_to_a_half_type_stays_within_the_stated_bound(scale):
    a, b = unit(40, 64), unit(50, 64, seed=1)
    for dtype, bound in [(torch.float16, 2**-10)] + [(torch.bfloat16, 2**-8)] * (DEVICE == "cuda"):
        got = row_lse(a, b, scale=scale, implementation="triton", product=dtype)
        exact = row_lse(a.double(), b.double(), scale=scale, implementation="dense")
        rounded = row_lse(a.to(dtype).double(), b.to(dtype).double(), scale=scale, implementation="dense")
        assert (got - exact).abs().max() <= scale * bound
        torch.testing.assert_close(got.double(), rounded, rtol=1e-6, atol=2e-6 * scale)


@runs
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_losses_equal_their_dense_form(dtype):
    z1, z2 = (normal(30, 12, seed=k, dtype=dtype).requires_grad_() for k in range(2))
    ids = torch.arange(30, device=DEVICE) // 2
    precision = 1e-5 if dtype == torch.float32 else 2**-9
    for loss in (
        lambda how: nt_xent(z1, z2, implementation=how),
        lambda how: nt_xent(z1, z2, ids=ids, implementation=how),
        lambda how: nt_xent(z1, z2, rows=slice(3, 17), ids=ids, implementation=how),
        lambda how: info_nce(z1, z2, negatives=z1[:7], implementation=how),
        lambda how: clip(z1, z2, scale=20.0, ids=ids, implementation=how),
    ):
        found, exact = loss("triton"), loss("dense")
        assert abs(found - exact) <= 20 * precision
        for x, y in zip(torch.autograd.grad(found, (z1, z2)), torch.autograd.grad(exact, (z1, z2)), strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=40 * precision * float(y.abs().max()))


@runs
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_equal_inputs_give_equal_bits(dtype):
    z = unit(60, 6, dtype=dtype)
    for b, pairs in ((None, Pairs(0)), (unit(45, 6, seed=1, dtype=dtype), ALL_PAIRS)):
        first, second = (outcome(triton_lse, z, b, 5.0, pairs=pairs, columns=b is not None) for _ in range(2))
        assert all(x.equal(y) for x, y in zip(first[0] + first[1], second[0] + second[1], strict=True))


@runs
def test_a_second_derivative_says_what_to_do():
    z = normal(6, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(self_lse(z, implementation="triton").sum(), z, create_graph=True)
    with pytest.raises(ConfigError, match="implementation='dense'"):
        gradient.square().sum().backward()


@runs
def test_autocast_changes_nothing():
    a, b = normal(30, 8).requires_grad_(), normal(20, 8, seed=1)
    plain = row_lse(a, b, implementation="triton")
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        inside = row_lse(a, b, implementation="triton")
        (gradient,) = torch.autograd.grad(inside.sum(), a)
    assert inside.equal(plain)
    assert gradient.equal(torch.autograd.grad(plain.sum(), a)[0])


@runs
def test_types_it_cannot_multiply_are_refused():
    with pytest.raises(ConfigError, match="take 'tiled'"):
        row_lse(normal(3, 2).double(), normal(5, 2).double(), implementation="triton")
    with pytest.raises(ConfigError, match="product must be"):
        row_lse(normal(3, 2), normal(5, 2), implementation="triton", product=torch.float64)


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="the interpreter takes tensors of the CPU")
def test_tensors_of_the_cpu_are_refused():
    with pytest.raises(ConfigError, match="CUDA device, got 'cpu'"):
        row_lse(torch.zeros(3, 2), torch.zeros(5, 2), implementation="triton")


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the process")
def test_everything_holds_interpreted_on_the_cpu():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", __file__]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="interpreted programs are not compiled")
@pytest.mark.parametrize(
    ("capability", "dtype", "width", "shared_memory"),
    [(80, torch.bfloat16, 128, 99 * 1024), (90, torch.bfloat16, 128, 227 * 1024), (90, torch.float32, 384, 99 * 1024)],
)
def test_programs_compile_and_fit_without_a_gpu(capability, dtype, width, shared_memory):
    # 99 KB is what consumer cards of capability 8.6 and 8.9 have.
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from nearfar.kernels.triton_tiles import sums_of_exp, weighted_sums

    matrix = "*bf16" if dtype == torch.bfloat16 else "*fp32"
    symmetric = dtype == torch.bfloat16
    for program, blocks in zip((sums_of_exp, weighted_sums), blocks_for(width, dtype, bounded=symmetric), strict=True):
        fixed = {
            "WIDTH": width, "PIECE": min(width, blocks.piece), "OUT": min(width, blocks.out), "OWN": blocks.own,
            "STREAM": blocks.stream, "SELF": symmetric, "SYMMETRIC": symmetric, "SAME": False, "BOUNDED": symmetric,
            "PRECISION": None if symmetric else "tf32x3", "own_bias": None, "stream_bias": None, "bias": None,
            "bias_out": None, "own_lse": None, "stream_lse": None,
        }  # fmt: skip
        sizes = {"m", "n", "offset", "first", "per_chunk", "start", "stop", "stride"}
        kinds = {name: "i32" if name in sizes else "*fp32" for name in program.arg_names}
        kinds |= {"x_ptr": matrix, "y_ptr": matrix, "own_groups": "*i32", "stream_groups": "*i32"}
        kinds |= {name: "constexpr" for name in fixed}
        source = ASTSource(
            program,
            {name: kinds[name] for name in program.arg_names},
            {(k,): fixed[name] for k, name in enumerate(program.arg_names) if name in fixed},
            {(k,): [["tt.divisibility", 16]] for k, name in enumerate(program.arg_names) if kinds[name][0] == "*"},
        )
        options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
        compiled = triton.compile(source, GPUTarget("cuda", capability, 32), options)
        assert compiled.metadata.shared <= shared_memory


@on_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("loss", [nt_xent, lambda z1, z2, **how: clip(z1, z2, scale=100.0, **how)], ids=["nt", "clip"])
def test_four_thousand_pairs_on_a_gpu_equal_dense_and_repeat_bit_by_bit(loss, dtype):
    z1, z2 = (normal(4096, 128, seed=k, dtype=dtype).requires_grad_() for k in range(2))
    scale = 10.0 if loss is nt_xent else 100.0
    bound = {torch.bfloat16: 2**-8, torch.float16: 2**-10, torch.float32: 2**-19}[dtype]
    runs = []
    for _ in range(2):
        value = loss(z1, z2, implementation="triton")
        runs.append((value, *torch.autograd.grad(value, (z1, z2))))
    assert all(x.equal(y) for x, y in zip(*runs, strict=True))
    exact = loss(z1.double(), z2.double(), implementation="dense")
    grads = torch.autograd.grad(exact, (z1, z2))
    assert abs(runs[0][0] - exact) <= scale * bound
    for x, y in zip(runs[0][1:], grads, strict=True):
        assert (x - y).norm() <= 2 * scale * bound * y.norm()


@on_gpu
def test_memory_on_a_gpu_is_linear_in_the_pairs():
    def extra(pairs):
        z1, z2 = (normal(pairs, 128, seed=k, dtype=torch.bfloat16).requires_grad_() for k in range(2))
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        nt_xent(z1, z2).backward()
        return torch.cuda.max_memory_allocated() - before

    # Views in float32, rounded, their gradients: some ten numbers of 4 bytes for each of 2 x 128, and the partial sums.
    assert extra(65536) <= 65536 * 2 * (10 * 4 * 128 + 4096)
    assert extra(65536) <= 2.2 * extra(32768)


@on_gpu
def test_matrices_of_more_than_two_billion_numbers_are_read_to_their_end():
    size = 2**24 + 1000
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GB of GPU memory")
    b = torch.zeros(size, 128, dtype=torch.bfloat16, device="cuda")
    b[-1000:] = unit(1000, 128, seed=1, dtype=torch.bfloat16)
    a = unit(64, 128, dtype=torch.bfloat16)
    scale = torch.tensor(30.0, device="cuda")
    found = triton_lse(a, b, scale, None, ALL_PAIRS, columns=False)[0].double()
    tail = dense_lse(a.double(), b[-1000:].double(), scale.double(), None, ALL_PAIRS, columns=False)[0]
    torch.testing.assert_close(found, torch.logaddexp(tail, torch.full_like(tail, math.log(2**24))), rtol=1e-6, atol=0)
