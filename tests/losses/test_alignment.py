"""Alignment and uniformity: known values, limits, gradients that stay finite."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import alignment, uniformity

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_published_alignment(case):
    known = case("align_uniform_a2_t2")
    z1, z2 = (known["inputs"][key] for key in ("z1", "z2"))
    assert alignment(z1, z2, alpha=known["params"]["alpha"]).item() == pytest.approx(known["value"], abs=1e-14)


@TILED
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


@TILED
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


def test_a_random_sphere_tends_to_its_closed_form():
    # For points uniform on a circle, the mean of exp(-2 |x - y|^2) is exp(-4) I_0(4).
    z = normal(3000, 2).float()
    expected = -4 + math.log(torch.special.i0(torch.tensor(4.0, dtype=torch.float64)).item())
    assert uniformity(z).item() == pytest.approx(expected, abs=0.01)
