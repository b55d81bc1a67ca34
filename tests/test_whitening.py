import pytest
import torch

from nearfar.whitening import POWER, SHRINK, Whitening


def features(n=4000, d=6):
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(d, d, generator=generator)
    return torch.randn(n, d, generator=generator) @ mix + 5


def test_it_is_the_identity_until_fitted():
    x = features(10)
    assert torch.equal(Whitening(6)(x), x)


def test_fitted_vectors_have_mean_zero_and_the_stated_variances():
    x = features()
    found = Whitening(6).fit(x)(x)
    assert found.mean(0).abs().max() < 1e-4
    before = torch.linalg.eigvalsh(torch.corrcoef(x.T))  # their mean is 1
    wanted = before / (before + SHRINK) ** (2 * POWER)
    assert torch.allclose(torch.linalg.eigvalsh(torch.cov(found.T)), wanted, atol=1e-3)


def test_uncorrelated_features_are_only_standardised():
    x = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0, 0.1, 3.0])
    found = Whitening(4).fit(x)(x)
    assert torch.allclose(found, (x - x.mean(0)) / x.std(0) / (1 + SHRINK) ** POWER, atol=0.1)


def test_constant_dimensions_stay_zero():
    x = features()
    x[:, 2] = 7.0
    found = Whitening(6).fit(x)(x)
    assert found[:, 2].abs().max() == 0
    assert found.isfinite().all()


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_samples_change_nothing(rows):
    x = features(5)
    assert torch.equal(Whitening(6).fit(x[:rows])(x), x)


def test_fewer_samples_than_dimensions_stay_finite():
    x = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    assert Whitening(50).fit(x)(x).isfinite().all()
