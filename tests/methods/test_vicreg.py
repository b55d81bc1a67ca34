"""VICReg as a method: its latents, its loss, odd batches, its settings, and that it learns."""

import pytest
import torch

from nearfar.contract import Latents
from nearfar.methods.vicreg import VICReg, VICRegOptions
from tests.methods.toys import batch_of, normed, views_of


@pytest.fixture
def method():
    torch.manual_seed(0)
    return VICReg(normed(), VICRegOptions(projector_hidden=16, projector_out=8))


def by_cov(z, invariance, variance, covariance):
    """A tenth of eq. 6, covariances as torch finds them."""
    total = invariance * (z[0] - z[1]).square().mean()
    for view in z:
        c = torch.cov(view.T)
        total = total + variance * (1 - (c.diagonal() + 1e-4).sqrt()).clamp(min=0).mean()
        total = total + covariance * (c - c.diagonal().diag()).square().sum() / view.shape[1]
    return total / 10


@pytest.mark.parametrize("weights", [{}, {"invariance": 3.0, "variance": 12.5, "covariance": 0.2}])
def test_the_loss_is_that_of_the_paper(weights):
    method = VICReg(normed(), VICRegOptions(**weights))
    z = 0.6 * torch.randn(2, 9, 4, dtype=torch.float64)
    found = method.loss(Latents(z=z), batch_of(9)).total
    torch.testing.assert_close(found, by_cov(z, **{"invariance": 25.0, "variance": 25.0, "covariance": 1.0} | weights))


def test_equal_samples_cost_the_variance_they_lack(method):
    x = torch.randn(2, 1, 6).expand(2, 8, 6)
    z = method.embed(views_of(x))
    apart = 25 * (z["z"][0] - z["z"][1]).square().mean()
    lack = 2 * 25 * (1 - 1e-4**0.5)  # of both views
    torch.testing.assert_close(method.loss(z, batch_of(8)).total, (apart + lack) / 10, rtol=1e-3, atol=0)
