"""TiCo, EMP-SSL, MMCR and LeJEPA by loops and closed forms; lightly's values are in `test_lightly.py`."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import ConfigError
from nearfar.losses import TiCoLoss, emp_ssl, lejepa, mmcr, sigreg, tico, tico_covariance
from tests.losses.table import normal


def test_tico_by_loops():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    covariance = tico_covariance(tico_covariance(None, z2, beta=0.6), z1, beta=0.6)
    u1, u2 = F.normalize(z1), F.normalize(z2)
    expected = sum(0.4 * 0.6 * torch.outer(u, u) / 6 for u in u2) + sum(0.4 * torch.outer(u, u) / 6 for u in u1)
    torch.testing.assert_close(covariance, expected)
    total = sum(1 - float(x @ y) + 3 * float(x @ expected @ x) for x, y in zip(u1, u2, strict=True)) / 6
    assert tico(z1, z2, covariance=covariance, rho=3.0).item() == pytest.approx(total)


def test_tico_of_one_direction_costs_rho_and_of_even_directions_rho_over_d():
    one, even = torch.ones(4, 4), torch.eye(4)
    for z, expected in ((one, 8.0), (even, 2.0)):
        assert tico(z, z, covariance=tico_covariance(None, z, beta=0.0)).item() == pytest.approx(expected)


def test_the_covariance_of_the_module_moves_and_is_saved():
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    loss = TiCoLoss()
    first = loss(z1, z2, update_covariance_matrix=False)
    assert loss.C is None
    assert loss(z1, z2).equal(first)
    other = TiCoLoss()
    other.load_state_dict(loss.state_dict())
    assert other(z1, z2).equal(loss(z1, z2))
    assert not first.equal(loss(z1, z2))


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)], ids=["more samples", "more dimensions"])
def test_emp_ssl_by_the_determinant(shape):
    views = [normal(*shape, seed=k) for k in range(3)]
    b, d = shape
    rates = [torch.logdet(torch.eye(d).double() + d / (b * 0.3) * z.T @ z) / 2 for z in views]
    mean = sum(views) / 3
    cosines = [F.cosine_similarity(z, mean).mean() for z in views]
    expected = -sum(rates) / 3 - 5 * sum(cosines) / 3
    torch.testing.assert_close(emp_ssl(views, eps=0.3, invariance=5.0), expected)


def test_emp_ssl_of_zeros_is_0_and_spreading_out_costs_less():
    assert emp_ssl([torch.zeros(3, 4)] * 2).item() == 0
    assert emp_ssl([torch.eye(4)], invariance=0.0) < emp_ssl([torch.eye(4)[:1].expand(4, 4)], invariance=0.0)


def test_mmcr_by_eigenvalues():
    z = normal(3, 2, 5)
    u = F.normalize(z, dim=-1)
    norms = [torch.linalg.eigvalsh(x @ x.T).clamp(min=0).sqrt().sum() for x in (*u, u.mean(1))]
    torch.testing.assert_close(mmcr(z, weight=0.3), 0.3 * sum(norms[:3]) / 3 - norms[3])


def test_mmcr_of_even_centroids_is_minus_their_number_and_equal_views_cost_the_least():
    z = torch.eye(4).unsqueeze(1).expand(4, 3, 4)
    assert mmcr(z, weight=0.0).item() == pytest.approx(-4)
    assert mmcr(z, weight=1.0).item() == pytest.approx(math.sqrt(3) - 4)
    z = torch.zeros(4, 3, 4, requires_grad=True)
    mmcr(z).backward()
    assert z.grad.isfinite().all()


def test_the_gradient_of_mmcr_says_that_it_cannot_be_differentiated_again():
    z = normal(3, 2, 4).requires_grad_()
    (grad,) = torch.autograd.grad(mmcr(z), z, create_graph=True)
    with pytest.raises(ConfigError, match="no second derivative"):
        grad.sum().backward()


def test_sigreg_by_loops():
    z, directions = normal(7, 3), F.normalize(normal(3, 2, seed=1), dim=0)
    step, total = 2.0 / 4, 0.0
    for m in range(2):
        x = z @ directions[:, m]
        values = []
        for k in range(5):
            t = k * step
            phi = math.exp(-t * t / 2)
            real, imaginary = float((t * x).cos().mean()), float((t * x).sin().mean())
            values.append(((real - phi) ** 2 + imaginary**2) * phi)
        total += 7 * 2 * step * (sum(values) - (values[0] + values[-1]) / 2)
    assert sigreg(z, directions=directions, knots=5, largest=2.0).item() == pytest.approx(total / 2)


def test_sigreg_tells_a_gaussian_from_a_point_and_views_apart():
    torch.manual_seed(0)
    gaussian, point = torch.randn(2000, 4), torch.zeros(2000, 4)
    assert 10 * sigreg(gaussian) < sigreg(1.5 * gaussian) < sigreg(point)
    directions = F.normalize(torch.randn(4, 9), dim=0)
    both = sigreg(torch.stack([gaussian, point]), directions=directions)
    torch.testing.assert_close(
        both, (sigreg(gaussian, directions=directions) + sigreg(point, directions=directions)) / 2
    )


def test_lejepa_draws_views_to_the_mean_of_the_wide_ones():
    local, wide = normal(3, 5, 4), normal(2, 5, 4, seed=1)
    center = wide.mean(0)
    squares = [((x - center[i]) ** 2).mean() for view in (*wide, *local) for i, x in enumerate(view)]
    torch.testing.assert_close(lejepa(local, wide, weight=0.0), sum(squares) / 25)
    directions = F.normalize(normal(4, 6, seed=2), dim=0)
    every = sigreg(torch.cat([wide, local]), directions=directions)
    torch.testing.assert_close(lejepa(local, wide, weight=1.0, directions=directions), every)


def test_memory_of_sigreg_is_that_of_one_frequency(peak_bytes):
    z, directions = torch.randn(512, 8, requires_grad=True), F.normalize(torch.randn(8, 64), dim=0)
    assert peak_bytes(lambda: sigreg(z, directions=directions).backward()) < 8 * 512 * 64 * 4
