"""Alignment and uniformity: known values, limits, gradients that stay finite."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import ConfigError, DataError
from nearfar.losses import alignment, uniformity

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
CASE = VECTORS["align_uniform_a2_t2"]
BOTH = pytest.mark.parametrize("implementation", ["dense", "tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_published_alignment():
    z1, z2 = (torch.tensor(CASE["inputs"][k], dtype=torch.float64) for k in ("z1", "z2"))
    assert alignment(z1, z2).item() == pytest.approx(CASE["value"], abs=1e-14)


@BOTH
def test_published_uniformity(implementation):
    z = torch.tensor(CASE["inputs"]["z1"], dtype=torch.float64)
    assert uniformity(z, implementation=implementation).item() == pytest.approx(CASE["uniformity"], abs=1e-13)


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


def test_mistakes_are_named():
    with pytest.raises(DataError, match=r"at least two embeddings \[N, D\], got shape \[1, 3\]"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(ConfigError, match="t must be > 0, got 0"):
        uniformity(torch.ones(2, 3), t=0)
    with pytest.raises(ConfigError, match="alpha must be > 0"):
        alignment(torch.ones(2, 3), torch.ones(2, 3), alpha=-1)
