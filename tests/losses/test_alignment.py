"""Alignment and uniformity: known values, limits, gradients that stay finite."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nearfar.errors import ConfigError, DataError
from nearfar.losses import AlignmentLoss, UniformityLoss, alignment, uniformity

BOTH = pytest.mark.parametrize("implementation", ["dense", "tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_published_alignment(case):
    known = case("align_uniform_a2_t2")
    z1, z2 = (known["inputs"][key] for key in ("z1", "z2"))
    assert alignment(z1, z2, alpha=known["params"]["alpha"]).item() == pytest.approx(known["value"], abs=1e-14)


@BOTH
def test_published_uniformity(implementation, case):
    known = case("align_uniform_a2_t2")
    loss = uniformity(known["inputs"]["z1"], t=known["params"]["t"], implementation=implementation)
    assert loss.item() == pytest.approx(known["uniformity"], abs=1e-13)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 3.0])
def test_alignment_by_loops(alpha):
    z1, z2 = normal(5, 3), normal(5, 3, seed=1)
    total = 0.0
    for x, y in zip(z1.tolist(), z2.tolist(), strict=True):
        lengths = [math.sqrt(sum(a * a for a in row)) for row in (x, y)]
        total += math.sqrt(sum((a / lengths[0] - b / lengths[1]) ** 2 for a, b in zip(x, y, strict=True))) ** alpha
    assert alignment(z1, z2, alpha=alpha).item() == pytest.approx(total / 5, abs=1e-14)


@BOTH
@pytest.mark.parametrize("t", [0.5, 2.0, 50.0])
def test_uniformity_equals_the_mean_over_pairs(t, implementation):
    z = normal(40, 5)
    expected = torch.pdist(F.normalize(z)).square().mul(-t).exp().mean().log()
    torch.testing.assert_close(uniformity(z, t=t, implementation=implementation), expected)


def test_uniformity_of_one_point_is_zero_and_of_opposite_points_minus_four_t():
    assert uniformity(torch.ones(5, 3)).item() == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]), t=3.0).item() == pytest.approx(-12)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 3.0])
def test_alignment_is_zero_for_coinciding_views_and_two_to_alpha_for_opposite_ones(alpha):
    z = normal(5, 3)
    assert alignment(z, 2 * z, alpha=alpha).item() == pytest.approx(0, abs=1e-7)
    assert alignment(z, -z, alpha=alpha).item() == pytest.approx(2**alpha)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_coinciding_views_have_gradient_zero(alpha):
    z = torch.eye(3).requires_grad_()
    alignment(z, z.detach(), alpha=alpha).backward()
    assert z.grad.eq(0).all()


@BOTH
def test_gradcheck(implementation):
    z1, z2 = normal(5, 3).requires_grad_(), normal(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: alignment(x, y, alpha=1.0), (z1, z2))
    assert torch.autograd.gradcheck(lambda x: uniformity(x, implementation=implementation), (z1,))


def test_zero_rows_stay_finite():
    z = torch.zeros(4, 3, requires_grad=True)
    (alignment(z, torch.ones(4, 3)) + uniformity(z)).backward()
    assert z.grad.eq(0).all()


def test_a_random_sphere_tends_to_its_closed_form():
    # For points uniform on a circle, the mean of exp(-2 |x - y|^2) is exp(-4) I_0(4).
    z = normal(3000, 2).float()
    expected = -4 + math.log(torch.special.i0(torch.tensor(4.0, dtype=torch.float64)).item())
    assert uniformity(z).item() == pytest.approx(expected, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_length_order_and_rotation_do_not_matter(factor, seed):
    z1, z2, turn = normal(7, 3, seed=seed), normal(7, 3, seed=seed + 100), torch.linalg.qr(normal(3, 3, seed=7))[0]
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    moved = [factor * z[order] @ turn for z in (z2, z1)]
    torch.testing.assert_close(alignment(*moved, alpha=1.5), alignment(z1, z2, alpha=1.5), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(uniformity(moved[1]), uniformity(z1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize("cuts", [(0, 3, 7), (0, 0, 5, 7)], ids=["two", "one-empty"])
def test_shares_of_ranks_sum_to_the_whole(cuts, alpha):
    zs = normal(7, 4).requires_grad_(), normal(7, 4, seed=1).requires_grad_()
    whole = alignment(*zs, alpha=alpha)
    shares = sum(alignment(*zs, alpha=alpha, rows=slice(i, j)) for i, j in itertools.pairwise(cuts))
    torch.testing.assert_close(shares, whole)
    torch.testing.assert_close(torch.autograd.grad(shares, zs), torch.autograd.grad(whole, zs))


def test_reductions_agree():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    each = alignment(z1, z2, reduction="none")
    assert each.shape == (6,)
    torch.testing.assert_close(each.mean(), alignment(z1, z2))
    torch.testing.assert_close(each.sum(), alignment(z1, z2, reduction="sum"))
    torch.testing.assert_close(each[2:4], alignment(z1, z2, reduction="none", rows=slice(2, 4)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_exact_for_the_given_numbers_in_any_precision(dtype):
    zs = [normal(50, 16, seed=s).to(dtype).requires_grad_() for s in (0, 1)]
    loss = alignment(*zs, alpha=1.0) + uniformity(zs[0])
    loss.backward()
    wide = [z.detach().double() for z in zs]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((alignment(*wide, alpha=1.0) + uniformity(wide[0])).item(), rel=1e-5)
    assert all(z.grad.dtype == dtype and z.grad.isfinite().all() for z in zs)


def test_memory_of_uniformity_grows_with_the_batch_and_not_with_its_square(peak_bytes):
    def peak(n):
        z = normal(n, 8).float().requires_grad_()
        return peak_bytes(lambda: uniformity(z).backward())

    small, middle, large = peak(2048), peak(3072), peak(4096)
    assert large - middle < 1.2 * (middle - small) + 1e5
    assert large < 4096**2 * 4 / 6


def test_modules_are_the_functions():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    assert AlignmentLoss(1.0, reduction="sum")(z1, z2).equal(alignment(z1, z2, alpha=1.0, reduction="sum"))
    assert UniformityLoss(3.0)(z1).equal(uniformity(z1, t=3.0))
    assert repr(AlignmentLoss()) == "AlignmentLoss(alpha=2.0, reduction='mean')"
    assert repr(UniformityLoss()) == "UniformityLoss(t=2.0)"


def test_modules_name_mistakes_when_they_are_made():
    with pytest.raises(ConfigError, match="alpha must be > 0, got 0"):
        AlignmentLoss(0)
    with pytest.raises(ConfigError, match="every anchor counts"):
        AlignmentLoss(reduction="mean_active")
    with pytest.raises(ConfigError, match="t must be > 0, got -1"):
        UniformityLoss(-1)


def test_mistakes_are_named():
    with pytest.raises(DataError, match=r"at least two embeddings \[N, D\], got shape \[1, 3\]"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(ConfigError, match="t must be > 0, got 0"):
        uniformity(torch.ones(2, 3), t=0)
    with pytest.raises(ConfigError, match="alpha must be > 0"):
        alignment(torch.ones(2, 3), torch.ones(2, 3), alpha=-1)
